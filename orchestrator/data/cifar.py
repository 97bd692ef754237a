"""CIFAR-10 and CIFAR-100, in the binary and in the python format.

Both formats store the same images as rows of 3,072 bytes, channel by channel (Krizhevsky, "Learning
multiple layers of features from tiny images", 2009, and its page
https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.array_pickle import load_array_pickle
from orchestrator.data.download import Download
from orchestrator.data.files import Layout
from orchestrator.data.found_files import SourceArrays
from orchestrator.data.obtain import FileSource, obtain
from orchestrator.errors import DataError
from orchestrator.registry import builds
from orchestrator.study.data_options import BuiltinData

_IMAGE_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_SERVER = "https://www.cs.toronto.edu/~kriz"

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Cifar:
    classes: int
    files: FileSource
    label_bytes: int
    label_key: str
    images: tuple[int, int]


def _layouts(
    name: str, page_name: str, binary_folder: str, python_folder: str, files: tuple[str, ...]
) -> tuple[Layout, ...]:
    binary_files = tuple(f"{file}.bin" for file in files)
    above = (".", name, name.upper())
    return (
        Layout("binary", binary_files, (binary_folder, f"{name}/{binary_folder}", name)),
        Layout("python", files, (python_folder, f"{name}/{python_folder}", name)),
        Layout("binary", binary_files, above, archive=f"{page_name}-binary.tar.gz"),
        Layout("python", files, above, archive=f"{page_name}-python.tar.gz"),
    )


DATASETS = {
    "cifar10": _Cifar(
        10,
        FileSource(
            "cifar10",
            _layouts(
                "cifar10",
                "cifar-10",
                "cifar-10-batches-bin",
                "cifar-10-batches-py",
                (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
            ),
            (
                Download(
                    (f"{_SERVER}/cifar-10-binary.tar.gz",),
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                ),
            ),
        ),
        label_bytes=1,
        label_key="labels",
        images=(50_000, 10_000),
    ),
    "cifar100": _Cifar(
        100,
        FileSource(
            "cifar100",
            _layouts(
                "cifar100",
                "cifar-100",
                "cifar-100-binary",
                "cifar-100-python",
                ("train", "test"),
            ),
            (
                Download(
                    (f"{_SERVER}/cifar-100-binary.tar.gz",),
                    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                ),
            ),
        ),
        label_bytes=2,
        label_key="fine_labels",
        images=(50_000, 10_000),
    ),
}


def parse_binary(content: bytes, label_bytes: int, where: str) -> tuple[Bytes, Bytes]:
    """Read records of labels and pixels.

    Args:
        content: The whole file.
        label_bytes: 1 in CIFAR-10; 2 in CIFAR-100 (the superclass, then the class).
        where: The file, for messages.

    Returns:
        Images of shape ``(n, 3, 32, 32)`` and labels of shape ``(n,)``; the last label of each
        record.

    Raises:
        DataError: If the length is not a whole number of records.
    """
    record = label_bytes + _PIXELS
    if len(content) == 0 or len(content) % record:
        raise DataError(
            f"{where}: got {len(content)} bytes, expected records of {record} bytes each",
            "the file is truncated or corrupted; delete it and download it again",
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
    return records[:, label_bytes:].reshape(-1, *_IMAGE_SHAPE), records[:, label_bytes - 1]


def parse_python(content: bytes, label_key: str, where: str) -> tuple[Bytes, Bytes]:
    """Read a pickled batch without running any code in it.

    Args:
        content: The whole file.
        label_key: Key of the labels.
        where: The file, for messages.

    Returns:
        Images of shape ``(n, 3, 32, 32)`` and labels of shape ``(n,)``.

    Raises:
        DataError: If it is not a pickle, refers to anything but arrays, or has the wrong layout.
    """
    batch = load_array_pickle(content, where)
    pixels, labels = (
        (batch.get("data"), batch.get(label_key)) if isinstance(batch, dict) else (None, None)
    )
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise DataError(f"{where}: expected 'data', an array of unsigned bytes (n, {_PIXELS})")
    if not isinstance(labels, list) or not all(
        type(label) is int and 0 <= label <= 255 for label in labels
    ):
        raise DataError(f"{where}: expected {label_key!r}, a list of numbers from 0 to 255")
    if len(pixels) != len(labels):
        raise DataError(f"{where}: got {len(pixels)} images but {len(labels)} labels")
    return pixels.reshape(-1, *_IMAGE_SHAPE), np.array(labels, dtype=np.uint8)


@builds(BuiltinData, "cifar10", "cifar100")
def load_cifar(options: BuiltinData) -> SourceArrays:
    """Read images of shape ``(n, 3, 32, 32)`` from files or archives in either format.

    Args:
        options: ``cifar10`` or ``cifar100`` (with its 100 fine classes), and the folder to search
            first.

    Raises:
        DataError: If the files cannot be obtained, are malformed or are incomplete.
    """
    dataset = DATASETS[options.name]
    located = obtain(dataset.files, options.data_dir)
    contents = located.read()
    batches = []
    for file in located.layout.files:
        where = f"{located.place}: {file}"
        if located.layout.format == "binary":
            batches.append(parse_binary(contents[file], dataset.label_bytes, where))
        else:
            batches.append(parse_python(contents[file], dataset.label_key, where))
    *train, (test_x, test_y) = batches
    train_x, train_y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    if (len(train_x), len(test_x)) != dataset.images:
        raise DataError(
            f"{located.place}: got {len(train_x)} training and {len(test_x)} test images, "
            f"expected {dataset.images[0]} and {dataset.images[1]}",
            "the data are truncated or corrupted; delete them and download them again",
        )
    return SourceArrays(train_x, train_y, test_x, test_y, classes=dataset.classes, scale=255.0)
