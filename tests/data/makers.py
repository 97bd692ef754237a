"""Tiny files in the formats of the real data sets."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def some_images(count: int, *shape: int, classes: int = 10) -> tuple[Bytes, Bytes]:
    """Distinct images and labels in which every class occurs."""
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, (np.arange(count) % classes).astype(np.uint8)


def idx_bytes(array: Bytes) -> bytes:
    """An idx file of unsigned bytes."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx(
    folder: Path,
    train: tuple[Bytes, Bytes],
    test: tuple[Bytes, Bytes],
    *,
    prefixes: tuple[str, str] = ("train", "t10k"),
    compressed: bool = False,
) -> None:
    """The four files of an MNIST-like data set."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, (images, labels) in zip(prefixes, (train, test), strict=True):
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{prefix}-{name}-ubyte{'.gz' if compressed else ''}"
            content = idx_bytes(array)
            path.write_bytes(gzip.compress(content, mtime=0) if compressed else content)


def cifar_binary(images: Bytes, labels: Bytes, coarse: bool = False) -> bytes:
    """Records as in the binary format; with superclass labels as in CIFAR-100."""
    columns = [labels[:, None], images.reshape(len(images), -1)]
    if coarse:
        columns.insert(0, np.full((len(images), 1), 7, dtype=np.uint8))
    return np.concatenate(columns, axis=1).tobytes()


def cifar_python(images: Bytes, labels: Bytes, key: str = "labels", protocol: int = 2) -> bytes:
    """A batch as Python 3 pickles it."""
    rows = images.reshape(len(images), -1)
    return pickle.dumps({"data": rows, key: labels.tolist()}, protocol=protocol)


def cifar_python2(images: Bytes, labels: Bytes) -> bytes:
    """A batch as Python 2 pickled it: written opcode by opcode, text as plain byte strings."""
    rows = images.reshape(len(images), -1)

    def text(content: bytes) -> bytes:
        return b"U" + bytes((len(content),)) + content

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = (
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
    )
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01" + number(rows.shape[0]) + number(rows.shape[1]) + b"\x86" + dtype + b"\x89"
        b"T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    )
    label_list = b"](" + b"".join(b"K" + bytes((label,)) for label in labels.tolist()) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + label_list + b"u."
