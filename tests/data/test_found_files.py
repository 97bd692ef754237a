from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from orchestrator.data.found_files import SourceArrays, check_source, from_user
from orchestrator.errors import DataError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 2, 0])
GOOD = SourceArrays(X, Y, X[:2], Y[:2])


def test_check_source_returns_the_number_of_classes_of_valid_arrays() -> None:
    assert check_source(GOOD, "mine") == 3
    assert check_source(replace(GOOD, classes=3), "mine") == 3
    assert check_source(replace(GOOD, train_y=Y.astype(np.uint8)), "mine") == 3


def with_value(value: float) -> np.ndarray[Any, Any]:
    changed = X.astype(np.float64)
    changed[2, 1] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_x": with_value(np.nan)}, r"x_train: got nan at index \(2, 1\)"),
        ({"train_x": with_value(-np.inf)}, r"x_train: got -inf at index \(2, 1\)"),
        ({"train_x": with_value(1e39)}, r"x_train: got 1e\+39 .*finite in float32 \(1 are not\)"),
        ({"train_x": X.astype(str)}, "x_train: got inputs of type <U.*expected real numbers"),
        ({"train_x": X.astype(complex)}, "x_train: got inputs of type complex128"),
        ({"train_x": X[:, 0]}, r"x_train: got shape \(4,\), expected \(n, features\)"),
        ({"train_x": X[:0], "train_y": Y[:0]}, "x_train: got no examples"),
        ({"test_x": X[:0], "test_y": Y[:0]}, "x_test: got no examples"),
        ({"train_x": X[:, :0]}, r"x_train: got shape \(4, 0\)"),
        ({"train_y": Y[:3]}, "train: got 4 inputs but 3 labels"),
        ({"test_y": Y[:1]}, "test: got 2 inputs but 1 labels"),
        ({"test_x": X[:2, :2]}, r"got training examples of shape \(3,\) but test .* \(2,\)"),
        ({"test_x": X[:2].astype(np.float64)}, "got float32 training inputs but float64"),
        ({"train_y": Y * 1.0}, r"y_train: got labels of type float64.*\n.*astype\(int\)"),
        ({"train_y": Y[:, None]}, r"y_train: got labels of shape \(4, 1\).*\n.*ravel"),
        ({"train_y": np.eye(4, dtype=int)}, r"y_train: got labels of shape \(4, 4\).*\n.*argmax"),
        ({"train_y": Y - 1}, "y_train: got label -1"),
        ({"test_y": Y[:2] + 2}, "y_test: got label 3, expected labels below 3"),
        ({"classes": 2}, "y_train: got label 2, expected labels below 2"),
        ({"train_y": Y * 0, "test_y": Y[:2] * 0}, "y_train: got examples of one class only"),
        ({"train_y": Y + 1}, "y_train: class 0 of 4 has no example.*\n.*count from 0"),
        ({"classes": 4}, "y_train: class 3 of 4 has no example"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^mine: {message}"):
        check_source(replace(GOOD, **change), "mine")


def test_the_hash_depends_on_contents_types_and_shapes() -> None:
    changed = X.copy()
    changed[3, 2] += 1
    variants = [
        GOOD,
        replace(GOOD, train_x=changed),
        replace(GOOD, train_x=X.reshape(4, 1, 3)),
        replace(GOOD, train_x=X.view(np.int32)),
        replace(GOOD, test_y=Y[1:3]),
        replace(GOOD, train_x=X[:2], test_x=X),
    ]
    assert len({variant.content_hash() for variant in variants}) == len(variants)


def test_the_hash_ignores_memory_layout_and_scale() -> None:
    same = replace(
        GOOD, train_x=np.asfortranarray(X), train_y=Y.astype(">i8"), test_x=X[::-1][::-1][:2]
    )
    assert same.content_hash() == GOOD.content_hash()
    assert GOOD.content_hash() == replace(GOOD, scale=255.0).content_hash()


def test_byte_images_from_users_are_scaled() -> None:
    pixels = np.zeros((4, 1, 5, 5), dtype=np.uint8)
    assert from_user((pixels, Y, pixels, Y), "mine").scale == 255.0
    assert from_user((X, Y, X, Y), "mine").scale == 1.0


def test_images_with_channels_last_are_refused() -> None:
    pixels = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"channels last.*\n.*transpose\(0, 3, 1, 2\)"):
        from_user((pixels, Y, pixels, Y), "mine")
    from_user((pixels.transpose(0, 3, 1, 2), Y, pixels, Y), "mine")
