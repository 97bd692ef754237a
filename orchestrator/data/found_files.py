"""What every reader hands over: four raw arrays, checked before anything is made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError

_BYTE_PIXELS = 255.0


@dataclass(frozen=True)
class SourceArrays:
    """A data set as its source holds it: nothing selected, replaced or standardized yet.

    Attributes:
        train_x: Inputs of shape ``(n, *input_shape)`` in the source's own type.
        train_y: Labels of shape ``(n,)``, integers.
        test_x: As ``train_x``.
        test_y: As ``train_y``.
        classes: Number of classes; None where only the labels can tell.
        scale: What the inputs are divided by, so that pixels lie in ``[0, 1]``.
    """

    train_x: NDArray[Any]
    train_y: NDArray[Any]
    test_x: NDArray[Any]
    test_y: NDArray[Any]
    classes: int | None = None
    scale: float = 1.0

    def content_hash(self) -> str:
        """SHA-256 over type, shape and bytes of the four arrays, the same on every machine."""
        digest = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            portable = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{portable.dtype.str}{portable.shape}".encode())
            digest.update(portable.data)
        return digest.hexdigest()


def from_user(arrays: Sequence[Any], where: str) -> SourceArrays:
    """Take four arrays that did not come from one of our own readers.

    Args:
        arrays: ``x_train, y_train, x_test, y_test``. Inputs have the shape ``(n, features)``,
            ``(n, channels, length)`` or ``(n, channels, height, width)``; those of type uint8
            are taken as pixels and divided by 255. Other integers stay integers
            (``holds_integers``).
        where: The file or callable they come from, for messages.

    Raises:
        DataError: If inputs look like images with their channels last.
    """
    train_x, train_y, test_x, test_y = arrays
    shape = train_x.shape
    if len(shape) == 4 and shape[1] == shape[2] and shape[3] in (1, 3, 4) and shape[1] > shape[3]:
        raise DataError(
            f"{where}: x_train: got shape {shape}, images with their channels last, "
            "expected (n, channels, height, width)",
            "use x.transpose(0, 3, 1, 2)",
        )
    scale = _BYTE_PIXELS if train_x.dtype == np.uint8 else 1.0
    return SourceArrays(train_x, train_y, test_x, test_y, scale=scale)


def holds_integers(inputs: NDArray[Any]) -> bool:
    """Whether inputs are integers to be kept, such as token ids: any but uint8, which are pixels.

    They are neither scaled nor standardized: half a token means nothing.
    """
    return inputs.dtype.kind in "iu" and inputs.dtype != np.uint8


def check_source(source: SourceArrays, where: str) -> int:
    """Refuse arrays from which no classifier can be learned.

    Args:
        source: The arrays.
        where: The data set or file, for messages.

    Returns:
        The number of classes.

    Raises:
        DataError: With the array that is wrong, what was got and what was expected.
    """
    for split, x, y in (
        ("train", source.train_x, source.train_y),
        ("test", source.test_x, source.test_y),
    ):
        check_inputs(x, f"{where}: x_{split}")
        check_labels(y, f"{where}: y_{split}")
        if len(x) != len(y):
            raise DataError(f"{where}: {split}: got {len(x)} inputs but {len(y)} labels")
    if source.train_x.shape[1:] != source.test_x.shape[1:]:
        raise DataError(
            f"{where}: got examples of shape {source.train_x.shape[1:]} to train on "
            f"but {source.test_x.shape[1:]} to test on"
        )
    if source.train_x.dtype != source.test_x.dtype:
        raise DataError(
            f"{where}: got {source.train_x.dtype} inputs to train on "
            f"but {source.test_x.dtype} to test on"
        )
    return _check_classes(source, where)


def check_inputs(x: NDArray[Any], where: str) -> None:
    """Refuse inputs that no network takes: of the wrong type or shape, empty, or not finite.

    Raises:
        DataError: With what was got and what was expected.
    """
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where}: got inputs of type {x.dtype}, expected real numbers")
    if x.ndim < 2:
        raise DataError(
            f"{where}: got shape {x.shape}, expected (n, features) or (n, channels, height, width)"
        )
    if len(x) == 0:
        raise DataError(f"{where}: got no examples")
    if x.size == 0:
        raise DataError(f"{where}: got shape {x.shape}, examples without a single number")
    if x.dtype == np.uint64 and x.max() > np.iinfo(np.int64).max:
        raise DataError(f"{where}: got {x.max()}, expected integers that int64 can hold")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(x.astype(np.float32, copy=False))
        if not finite.all():
            first = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise DataError(
                f"{where}: got {x[first]} at index {first}, expected numbers finite in float32 "
                f"({int((~finite).sum())} are not)"
            )


def check_labels(y: NDArray[Any], where: str) -> None:
    """Refuse labels that are not ``0, 1, 2, …``, one for each example.

    Raises:
        DataError: With what was got, and how to make labels of it.
    """
    if y.ndim != 1:
        hint = "use y.ravel()" if y.size == len(y) else "use y.argmax(axis=1) if they are one-hot"
        raise DataError(f"{where}: got labels of shape {y.shape}, expected (n,)", hint)
    if y.dtype.kind not in "iu":
        raise DataError(
            f"{where}: got labels of type {y.dtype}, expected integers", _to_integers(y)
        )
    if len(y) and y.min() < 0:
        raise DataError(f"{where}: got label {y.min()}, expected 0, 1, 2, …", _NUMBERED)


_NUMBERED = "number the classes: np.searchsorted(np.unique(y_train), y)"


def _to_integers(y: NDArray[Any]) -> str:
    """How to make integers of labels of another type."""
    if y.dtype.kind == "b":
        return "use y.astype(int)"
    if y.dtype.kind != "f":
        return _NUMBERED
    if len(y) and np.isfinite(y).all() and (y == np.round(y)).all():
        return "use y.astype(int)"
    return (
        "networks are trained to classify: make classes of real values, for example "
        "np.digitize(y, np.quantile(y_train, [1/3, 2/3]))"
    )


def _check_classes(source: SourceArrays, where: str) -> int:
    classes = int(source.train_y.max()) + 1 if source.classes is None else source.classes
    for split, y in (("train", source.train_y), ("test", source.test_y)):
        if y.max() >= classes:
            raise DataError(
                f"{where}: y_{split}: got label {y.max()}, expected labels below {classes}"
            )
    counts = np.bincount(source.train_y.astype(np.int64), minlength=classes)
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"{where}: y_train: got examples of one class only, expected at least two classes"
        )
    if not counts.all():
        raise DataError(
            f"{where}: y_train: class {int(np.argmin(counts))} of {classes} has no example to "
            "train on",
            f"labels count from 0 without gaps; {_NUMBERED}",
        )
    return classes
