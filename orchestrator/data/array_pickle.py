"""Safe unpickling of byte arrays and lists; no other object can be constructed.

A pickle is a program that can call any function by name. Here each allowed name refers to an inert
substitute in this module. Not even NumPy's own constructors, which take buffers and strides, are
accessible.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError, error_text


class _Type:
    """A substitute for ``numpy.dtype`` that accepts only unsigned bytes."""

    def __init__(self, code: object = None, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(
                f"an array of type {code!r}; only unsigned bytes are allowed"
            )

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and fields, which are irrelevant for single bytes."""


class _Array:
    """A substitute for ``numpy.ndarray``, converted to one after loading."""

    def __init__(self, *_: object) -> None:
        self.value: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, _, column_major, content = state
        self.value = _make_array(content, shape, "F" if column_major else "C")


def _make_array(content: Any, shape: Any, order: Any) -> NDArray[np.uint8]:
    if not isinstance(content, bytes | bytearray) or not isinstance(shape, tuple):
        raise pickle.UnpicklingError("an array without bytes or without a shape")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape!r}")
    if len(content) != math.prod(shape):
        raise pickle.UnpicklingError(f"{len(content)} bytes for an array of shape {shape}")
    return np.frombuffer(bytes(content), dtype=np.uint8).reshape(
        shape, order="F" if order == "F" else "C"
    )


def _reconstruct(*_: object) -> _Array:
    """Substitute for ``numpy.core.multiarray._reconstruct``."""
    return _Array()


def _from_buffer(content: Any, _: object, shape: Any, order: Any) -> _Array:
    """Substitute for ``numpy.core.numeric._frombuffer``, used by pickles of protocol 5."""
    array = _Array()
    array.value = _make_array(content, shape, order)
    return array


def _encode(text: Any, encoding: Any = None) -> bytes:
    """Substitute for ``_codecs.encode``, with which Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"bytes with the encoding {encoding!r}")
    return text.encode("latin1")


_SUBSTITUTES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _SUBSTITUTES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"refers to {module}.{name}, but only arrays are allowed"
            ) from None


def _refuse_far_memo(content: bytes) -> None:
    """Refuse large memo indices: Python allocates memory for all smaller ones."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in {"PUT", "LONG_BINPUT"} and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"memo index {argument} exceeds the size of the pickle")


def load_array_pickle(content: bytes, where: str) -> Any:
    """Unpickle numbers, text, containers and arrays of unsigned bytes, but nothing else.

    Args:
        content: The pickle, of any protocol, from Python 2 or 3.
        where: The file, for messages.

    Returns:
        The pickled object. If it is a dictionary, its keys are text and the arrays directly in
        it are NumPy arrays.

    Raises:
        DataError: If the pickle is damaged or refers to anything else.
    """
    try:
        _refuse_far_memo(content)
        # A hostile pickle can make the substitutes raise any error: report all as DataError.
        result = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:
        raise DataError(
            f"{where}: cannot be unpickled: {error_text(error)}",
            "download the binary version of the data set, or the original file",
        ) from error
    if not isinstance(result, dict):
        return result
    return {
        key.decode("latin1") if isinstance(key, bytes) else key: value.value
        if isinstance(value, _Array)
        else value
        for key, value in result.items()
    }
