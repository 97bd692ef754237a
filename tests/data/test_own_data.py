from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.data import load_dataset
from orchestrator.errors import DataError
from orchestrator.study.data_options import CustomData

SOURCE = """
import numpy as np
import torch

from orchestrator.errors import DataError


def arrays(features=3):
    x = np.arange(4.0 * features).reshape(4, features)
    y = np.array([0, 1, 1, 0])
    return x, y, x[:2], y[:2]


def tensors():
    return [torch.from_numpy(part) for part in arrays()]


def three():
    return arrays()[:3]


def nothing():
    return None


def lists():
    return [part.tolist() for part in arrays()]


def failing():
    raise ValueError("the disk is full")


def refusing():
    raise DataError("no such year", "try 2020")
"""


@pytest.fixture(autouse=True)
def _my_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_data_sets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)


def options(function: str, **arguments: object) -> CustomData:
    return CustomData(name=f"my_data_sets:{function}", standardize=False, **arguments)


def test_arrays_and_tensors_are_accepted() -> None:
    dataset = load_dataset(options("arrays"))
    assert dataset.train_x.dtype == torch.float32
    assert dataset.train_x.tolist() == torch.arange(12.0).view(4, 3).tolist()
    assert dataset.train_y.tolist() == [0, 1, 1, 0]
    assert dataset.name == "my_data_sets:arrays"
    assert load_dataset(options("tensors")).content_hash == dataset.content_hash


def test_further_keys_are_passed_as_arguments_except_those_of_the_selection() -> None:
    dataset = load_dataset(options("arrays", features=5, train_size=2))
    assert dataset.train_x.shape == (2, 5)
    assert sorted(dataset.train_y.tolist()) == [0, 1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("three", "returned a tuple of 3, expected"),
        ("nothing", "returned a NoneType, expected"),
        ("lists", "returned a list in .*, expected arrays or tensors"),
        ("failing", r"raised ValueError: the disk is full \(called with no arguments\)"),
    ],
)
def test_other_return_values_are_refused(function: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^data set 'my_data_sets:{function}': {message}"):
        load_dataset(options(function))


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(DataError, match=r"raised TypeError: .*'width' \(called with width\)"):
        load_dataset(options("arrays", width=5))


def test_user_errors_of_a_custom_reader_are_passed_on() -> None:
    with pytest.raises(DataError, match=r"^no such year\n  hint: try 2020$"):
        load_dataset(options("refusing"))
