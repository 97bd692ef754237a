"""The IDX format of MNIST and of data sets modelled on it.

An IDX file is big-endian. It consists of two zero bytes, a type (8 for unsigned bytes), the number
of dimensions, one 32-bit size per dimension, then the values (LeCun, Cortes and Burges, "The MNIST
database of handwritten digits").
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.download import Download
from orchestrator.data.files import Layout
from orchestrator.data.found_files import SourceArrays
from orchestrator.data.obtain import FileSource, obtain
from orchestrator.errors import DataError
from orchestrator.registry import builds
from orchestrator.study.data_options import BuiltinData

_UNSIGNED_BYTE = 8
_FIRST_LABELS = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    "fashion_mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
}


@dataclass(frozen=True)
class _IdxDataset:
    classes: int
    files: FileSource
    transposed: bool = False


def _names(train: str, test: str) -> tuple[str, ...]:
    return tuple(
        f"{prefix}-{kind}-ubyte"
        for prefix in (train, test)
        for kind in ("images-idx3", "labels-idx1")
    )


def _layout(files: tuple[str, ...], name: str, torchvision_name: str) -> Layout:
    folders = (f"{torchvision_name}/raw", torchvision_name, name, name.replace("_", "-"))
    return Layout("idx", files, tuple(dict.fromkeys((*folders, f"{name}/raw"))))


def _mnist_like(
    name: str,
    torchvision_name: str,
    servers: tuple[str, ...],
    checksums: tuple[str, ...],
    package: str | None = None,
) -> _IdxDataset:
    files = _names("train", "t10k")
    downloads = tuple(
        Download(tuple(f"{server}/{file}.gz" for server in servers), sha256)
        for file, sha256 in zip(files, checksums, strict=True)
    )
    layouts = (_layout(files, name, torchvision_name),)
    return _IdxDataset(10, FileSource(name, layouts, downloads, package))


def _emnist() -> _IdxDataset:
    # The split "balanced", one of six: 47 classes with 2,400 training examples each. Its images
    # are stored column by column.
    files = _names("emnist-balanced-train", "emnist-balanced-test")
    folders = ("EMNIST/raw", "EMNIST", "emnist")
    layouts = (
        _layout(files, "emnist", "EMNIST"),
        Layout("idx", files, ("gzip", "EMNIST/gzip", "emnist/gzip")),
        Layout("idx", files, folders, archive="gzip.zip"),
    )
    download = Download(
        (
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
        ),
        "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    )
    return _IdxDataset(47, FileSource("emnist", layouts, (download,)), transposed=True)


DATASETS = {
    "mnist": _mnist_like(
        "mnist",
        "MNIST",
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "https://ossci-datasets.s3.amazonaws.com/mnist",
        ),
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion_mnist": _mnist_like(
        "fashion_mnist",
        "FashionMNIST",
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        "dataset-fashion-mnist",
    ),
    "kmnist": _mnist_like(
        "kmnist",
        "KMNIST",
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist",),
        (
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
    "emnist": _emnist(),
}


def parse_idx(content: bytes, dimensions: int, where: str) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Args:
        content: The whole file, decompressed.
        dimensions: Required number of dimensions: 3 for images, 1 for labels.
        where: The file, for messages.

    Returns:
        A read-only array of the shape given in the file.

    Raises:
        DataError: If the leading bytes, type, number of dimensions or length is wrong.
    """
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if content[:4] != magic:
        raise DataError(
            f"{where}: not an IDX file of unsigned bytes with {dimensions} dimensions: "
            f"starts with {content[:4].hex(' ')}, expected {magic.hex(' ')}"
        )
    if len(content) < header:
        raise DataError(f"{where}: ends within the header after {len(content)} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) != header + math.prod(shape):
        raise DataError(
            f"{where}: got {len(content)} bytes, expected {header + math.prod(shape)} for "
            f"shape {shape}",
            "the file is truncated or corrupted; delete it and download it again",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


@builds(BuiltinData, *DATASETS)
def load_idx(options: BuiltinData) -> SourceArrays:
    """Read images of shape ``(n, 1, height, width)`` from four IDX files.

    Args:
        options: ``mnist``, ``fashion_mnist``, ``kmnist`` or ``emnist``, and the folder to search
            first. The last name means the split "balanced" (47 classes), with images turned
            upright.

    Raises:
        DataError: If the files cannot be obtained, are malformed, or belong to another data set
            (file names are the same for all of these data sets except EMNIST).
    """
    name = options.name
    dataset = DATASETS[name]
    located = obtain(dataset.files, options.data_dir)
    contents = located.read()
    train_x, train_y, test_x, test_y = (
        parse_idx(contents[file], 3 if "images" in file else 1, f"{located.place}: {file}")
        for file in located.layout.files
    )
    first = tuple(train_y[:10].tolist())
    for other, labels in _FIRST_LABELS.items():
        if other != name and first == labels:
            raise DataError(
                f"{located.place}: got the files of {other!r}, expected those of {name!r}",
                f"put the files of {name!r} into their own folder {name}/ below data.data_dir",
            )
    if dataset.transposed:
        train_x, test_x = train_x.transpose(0, 2, 1), test_x.transpose(0, 2, 1)
    return SourceArrays(
        train_x[:, None], train_y, test_x[:, None], test_y, classes=dataset.classes, scale=255.0
    )
