from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.data import load_dataset
from orchestrator.data.files import SYSTEM_ROOTS
from orchestrator.data.idx import DATASETS, load_idx, parse_idx
from orchestrator.errors import DataError
from orchestrator.study.data_options import BuiltinData

from .makers import idx_bytes, some_images, write_idx

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
GOOD = idx_bytes(IMAGES)


def test_an_idx_file_is_read() -> None:
    assert (parse_idx(GOOD, 3, "f") == IMAGES).all()
    labels = np.array([3, 1, 2], dtype=np.uint8)
    assert parse_idx(idx_bytes(labels), 1, "f").tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file .* starts with , expected 00 00 08 03"),
        (b"\0\0\x08", "not an IDX file .* starts with 00 00 08, expected 00 00 08 03"),
        (b"\0\1" + GOOD[2:], "not an IDX file .* starts with 00 01 08 03"),
        (b"\0\0\x0d" + GOOD[3:], "not an IDX file .* starts with 00 00 0d 03"),
        (idx_bytes(IMAGES[0]), "not an IDX file .* starts with 00 00 08 02"),
        (GOOD[:15], "ends within the header after 15 bytes"),
        (GOOD[:-1], r"got 39 bytes, expected 40 for shape \(2, 3, 4\)"),
        (GOOD + b"\0", r"got 41 bytes, expected 40"),
        (
            GOOD[:4] + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + GOOD[16:],
            "got 40 bytes, expected 79228162458924105385300197391",
        ),
    ],
)
def test_an_idx_file_must_be_exactly_right(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^f: {message}"):
        parse_idx(content, 3, "f")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_data_set_is_read_in_torchvisions_folders(
    empty_machine: Path, name: str, compressed: bool
) -> None:
    folder = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}[name]
    train, test = some_images(30, 5, 5), some_images(20, 5, 5)
    write_idx(empty_machine / f"data/{folder}/raw", train, test, compressed=compressed)
    source = load_idx(BuiltinData(name=name))
    assert (source.train_x == train[0][:, None]).all()
    assert (source.test_x == test[0][:, None]).all()
    assert (source.train_y == train[1]).all()
    assert (source.test_y == test[1]).all()
    assert (source.classes, source.scale) == (10, 255.0)


def test_emnist_is_turned_upright(empty_machine: Path) -> None:
    prefixes = ("emnist-balanced-train", "emnist-balanced-test")
    train, test = some_images(94, 5, 4, classes=47), some_images(47, 5, 4, classes=47)
    write_idx(empty_machine / "data/EMNIST/raw", train, test, prefixes=prefixes)
    source = load_idx(BuiltinData(name="emnist"))
    assert source.train_x.shape == (94, 1, 4, 5)
    assert source.train_x[3, 0, 2, 1] == train[0][3, 1, 2]
    assert source.classes == 47
    dataset = load_dataset(BuiltinData(name="emnist", standardize=False))
    assert torch.equal(
        dataset.test_x[:, 0], torch.from_numpy(test[0]).transpose(1, 2).float() / 255
    )


def test_the_files_of_another_data_set_are_recognized(empty_machine: Path) -> None:
    images, _ = some_images(20, 5, 5)
    labels = np.array([5, 0, 4, 1, 9, 2, 1, 3, 1, 4, *range(10)], dtype=np.uint8)
    write_idx(empty_machine / "flat", (images, labels), (images, labels))
    assert load_idx(BuiltinData(name="mnist", data_dir="flat")).train_y.tolist() == labels.tolist()
    with pytest.raises(DataError, match="got the files of 'mnist', expected those of 'kmnist'"):
        load_idx(BuiltinData(name="kmnist", data_dir="flat"))


def test_as_many_images_as_labels(empty_machine: Path) -> None:
    images, labels = some_images(20, 5, 5)
    write_idx(empty_machine / "data/mnist", (images, labels[:-1]), (images, labels))
    with pytest.raises(DataError, match="mnist: train: got 20 inputs but 19 labels"):
        load_dataset(BuiltinData(name="mnist"))


def test_files_that_are_nowhere(empty_machine: Path) -> None:
    with pytest.raises(DataError, match="network is unreachable") as caught:
        load_dataset(BuiltinData(name="fashion_mnist"))
    assert "apt install dataset-fashion-mnist" in str(caught.value)
    assert "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images" in str(caught.value)


def test_every_download_has_a_checksum_and_is_a_file_that_is_wanted() -> None:
    for name, dataset in DATASETS.items():
        for download in dataset.files.downloads:
            assert len(bytes.fromhex(download.sha256)) == 32
            assert {url.rpartition("/")[2] for url in download.urls} == {download.file_name}
        offered = {download.file_name for download in dataset.files.downloads}
        layouts = dataset.files.layouts
        archived = any(layout.archive in offered for layout in layouts if layout.archive)
        assert archived or offered == {f"{file}.gz" for file in layouts[0].files}, name


FASHION_MNIST = SYSTEM_ROOTS[0] / "fashion-mnist"


@pytest.mark.skipif(
    not FASHION_MNIST.is_dir(), reason="needs the Debian package dataset-fashion-mnist"
)
def test_fashion_mnist_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.data.files.USER_ROOTS", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ORCHESTRATOR_DATA", raising=False)
    dataset = load_dataset(BuiltinData(name="fashion_mnist", train_size=5000))
    assert dataset.train_x.shape == (5000, 1, 28, 28)
    assert dataset.test_x.shape == (10_000, 1, 28, 28)
    assert torch.bincount(dataset.train_y).tolist() == [500] * 10
    assert torch.bincount(dataset.test_y).tolist() == [1000] * 10
    assert dataset.train_x.mean().item() == pytest.approx(0, abs=1e-5)
    assert dataset.train_x.std().item() == pytest.approx(1, abs=1e-5)
    assert dataset.content_hash == (
        "6a3a4f4382867139dd58d43e6ad3c6e8fc0ae56058cbbf2bec7d499951c8f524"
    )
