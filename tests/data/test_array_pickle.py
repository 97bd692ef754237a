from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np
import pytest

from orchestrator.data.array_pickle import load_array_pickle
from orchestrator.errors import DataError

from .makers import cifar_python2, some_images

ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", [ARRAY, np.asfortranarray(ARRAY), ARRAY[0]])
def test_byte_arrays_round_trip_through_every_protocol(
    protocol: int, array: np.ndarray[Any, Any]
) -> None:
    content = pickle.dumps({"data": array, b"labels": [1, 2, 300], "n": None}, protocol)
    loaded = load_array_pickle(content, "f")
    assert list(loaded) == ["data", "labels", "n"]
    assert loaded["data"].dtype == np.uint8
    assert loaded["data"].tolist() == array.tolist()
    assert loaded["data"].shape == array.shape
    assert loaded["labels"] == [1, 2, 300]


def test_python_2_pickles_are_read() -> None:
    images, labels = some_images(4, 3, 2, 2)
    loaded = load_array_pickle(cifar_python2(images, labels), "f")
    assert (loaded["data"] == images.reshape(4, -1)).all()
    assert loaded["labels"] == labels.tolist()


class Call:
    """Pickles as the instruction to call a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("hostile", "asked"),
    [
        (Call(os.system, "touch intruder"), "system"),
        (Call(eval, "open('intruder', 'w')"), "eval"),
        (Call(np.load, "intruder.npy"), "load"),
        (Call(np.fromfile, "intruder"), "fromfile"),
        (Call(getattr, ARRAY, "tofile"), "getattr"),
        (slice(1), "slice"),
    ],
)
def test_pickles_that_refer_to_other_callables_are_refused(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, hostile: Any, asked: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({"data": ARRAY, "labels": hostile}, protocol)
    with pytest.raises(DataError, match=rf"^f: cannot be unpickled: refers to \w+\.{asked}, "):
        load_array_pickle(content, "f")
    assert list(tmp_path.iterdir()) == []


def test_a_class_reached_through_an_allowed_one_is_refused() -> None:
    # Protocol 4 may ask for "ndarray.tofile" in the module numpy.
    content = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    with pytest.raises(DataError, match=r"refers to numpy\.ndarray\.tofile"):
        load_array_pickle(content, "f")


@pytest.mark.parametrize("kind", [np.int64, np.float32, object, "S8"])
def test_only_byte_arrays_are_loaded(kind: Any) -> None:
    with pytest.raises(DataError, match=r"an array of type '[iOSf]"):
        load_array_pickle(pickle.dumps({"data": ARRAY.astype(kind)}, 2), "f")


def test_numpys_own_constructor_is_never_called() -> None:
    content = pickle.dumps({"data": Call(np.ndarray, (2**40,))}, 2)
    assert load_array_pickle(content, "f")["data"].size == 0


def forged(shape: bytes, content: bytes) -> bytes:
    """An array whose state was tampered with."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R"
        b"(K\x01" + shape + b"N\x89" + content + b"tb."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (forged(b"K\x03\x85", b"U\x02ab"), r"2 bytes for an array of shape \(3,\)"),
        (forged(b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86", b"U\x02ab"), r"shape \(-1, -2\)"),
        (forged(b"N", b"U\x02ab"), "without bytes or without a shape"),
        (forged(b"K\x02\x85", b"K\x07"), "without bytes or without a shape"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.", "encoding"),
        (b"", "exhausted"),
        (b"\x80\x02}(U\x04da", "cannot be unpickled"),
        (b"not a pickle", "cannot be unpickled"),
    ],
)
def test_damaged_and_forged_pickles_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_array_pickle(content, "f")
