"""The output of every reader: four raw arrays, checked before any processing."""

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
    """A data set as stored by its source, before any selection, relabelling or standardization.

    Attributes:
        train_x: Inputs of shape ``(n, *input_shape)`` in the source's own type.
        train_y: Labels of shape ``(n,)``, integers.
        test_x: Test inputs, like ``train_x``.
        test_y: Test labels, like ``train_y``.
        classes: Number of classes; None to infer it from the labels.
        scale: Divisor of the inputs that brings pixels into ``[0, 1]``.
    """

    train_x: NDArray[Any]
    train_y: NDArray[Any]
    test_x: NDArray[Any]
    test_y: NDArray[Any]
    classes: int | None = None
    scale: float = 1.0

    def content_hash(self) -> str:
        """Return the SHA-256 of type, shape and bytes of the arrays, equal on every machine."""
        digest = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            portable = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{portable.dtype.str}{portable.shape}".encode())
            digest.update(portable.data)
        return digest.hexdigest()


def from_user(arrays: Sequence[Any], where: str) -> SourceArrays:
    """Wrap four arrays that do not come from a built-in reader.

    Args:
        arrays: ``x_train, y_train, x_test, y_test``. Inputs have the shape ``(n, features)``,
            ``(n, channels, length)`` or ``(n, channels, height, width)``. Inputs of type uint8
            are treated as pixels and divided by 255. Other integers stay integers
            (``holds_integers``).
        where: The file or callable that the arrays come from, for messages.

    Raises:
        DataError: If inputs look like images with channels last.
    """
    train_x, train_y, test_x, test_y = arrays
    shape = train_x.shape
    if len(shape) == 4 and shape[1] == shape[2] and shape[3] in (1, 3, 4) and shape[1] > shape[3]:
        raise DataError(
            f"{where}: x_train: got shape {shape} (images with channels last), "
            "expected (n, channels, height, width)",
            "use x.transpose(0, 3, 1, 2)",
        )
    scale = _BYTE_PIXELS if train_x.dtype == np.uint8 else 1.0
    return SourceArrays(train_x, train_y, test_x, test_y, scale=scale)


def holds_integers(inputs: NDArray[Any]) -> bool:
    """Whether inputs are integers to keep, such as token ids: any type but uint8 (pixels).

    These are neither scaled nor standardized, since fractions of a token are meaningless.
    """
    return inputs.dtype.kind in "iu" and inputs.dtype != np.uint8


def check_source(source: SourceArrays, where: str) -> int:
    """Refuse arrays that cannot be used to train a classifier.

    Args:
        source: The arrays.
        where: The data set or file, for messages.

    Returns:
        The number of classes.

    Raises:
        DataError: If an array is invalid; names the array, the value found and the expected one.
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
            f"{where}: got training examples of shape {source.train_x.shape[1:]} "
            f"but test examples of shape {source.test_x.shape[1:]}"
        )
    if source.train_x.dtype != source.test_x.dtype:
        raise DataError(
            f"{where}: got {source.train_x.dtype} training inputs "
            f"but {source.test_x.dtype} test inputs"
        )
    return _check_classes(source, where)


def check_inputs(x: NDArray[Any], where: str) -> None:
    """Refuse inputs with a wrong type or shape, and inputs that are empty or not finite.

    Raises:
        DataError: If inputs are invalid; gives the value found and the expected one.
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
        raise DataError(f"{where}: got shape {x.shape}, expected at least one number per example")
    if x.dtype == np.uint64 and x.max() > np.iinfo(np.int64).max:
        raise DataError(f"{where}: got {x.max()}, expected integers in the range of int64")
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
    """Refuse labels other than ``0, 1, 2, …``, one per example.

    Raises:
        DataError: If labels are invalid; gives the value found and how to convert it.
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
    """Return a hint on how to convert labels of another type to integers."""
    if y.dtype.kind == "b":
        return "use y.astype(int)"
    if y.dtype.kind != "f":
        return _NUMBERED
    if len(y) and np.isfinite(y).all() and (y == np.round(y)).all():
        return "use y.astype(int)"
    return (
        "networks are trained as classifiers: bin real values into classes, for example "
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
            f"{where}: y_train: class {int(np.argmin(counts))} of {classes} has no examples",
            f"labels count from 0 without gaps; {_NUMBERED}",
        )
    return classes
