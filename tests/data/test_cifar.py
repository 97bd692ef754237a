from __future__ import annotations

import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.data import load_dataset
from orchestrator.data.cifar import DATASETS, load_cifar, parse_binary, parse_python
from orchestrator.errors import DataError
from orchestrator.study.data_options import BuiltinData

from .makers import Bytes, cifar_binary, cifar_python, cifar_python2, some_images

PER_BATCH = 20
BATCHES = [
    (images, labels) for images, labels in (some_images(PER_BATCH + n, 3, 32, 32) for n in range(6))
]
BATCHES = [(images[:PER_BATCH], labels[:PER_BATCH]) for images, labels in BATCHES]


@pytest.fixture
def small(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data sets of twenty images a batch instead of ten thousand; CIFAR-100 of ten classes."""
    for name, images in (("cifar10", (5 * PER_BATCH, PER_BATCH)), ("cifar100", (PER_BATCH,) * 2)):
        changed = replace(DATASETS[name], images=images, classes=10)
        monkeypatch.setitem(DATASETS, name, changed)
    return empty_machine


def write(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def cifar10_files(form: str) -> dict[str, bytes]:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    if form == "binary":
        return {
            f"{name}.bin": cifar_binary(*batch) for name, batch in zip(names, BATCHES, strict=True)
        }
    write_batch = cifar_python2 if form == "python 2" else cifar_python
    return {name: write_batch(*batch) for name, batch in zip(names, BATCHES, strict=True)}


def expected(batches: list[tuple[Bytes, Bytes]]) -> tuple[list[Any], list[Any]]:
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images).tolist(), np.concatenate(labels).tolist()


def test_all_formats_of_cifar10_give_the_same(small: Path) -> None:
    hashes = set()
    for form, folder in (
        ("binary", "cifar-10-batches-bin"),
        ("python 2", "cifar-10-batches-py"),
        ("python 3", "cifar-10-batches-py"),
    ):
        root = small / form
        write(root / folder, cifar10_files(form))
        source = load_cifar(BuiltinData(name="cifar10", data_dir=str(root)))
        assert (source.train_x.tolist(), source.train_y.tolist()) == expected(BATCHES[:5])
        assert (source.test_x.tolist(), source.test_y.tolist()) == expected(BATCHES[5:])
        hashes.add(load_dataset(BuiltinData(name="cifar10", data_dir=str(root))).content_hash)
    assert len(hashes) == 1


def test_cifar100_has_its_fine_labels(small: Path) -> None:
    train, test = BATCHES[:2]
    write(
        small / "b/cifar-100-binary",
        {"train.bin": cifar_binary(*train, coarse=True), "test.bin": cifar_binary(*test, True)},
    )
    write(
        small / "p/cifar-100-python",
        {"train": cifar_python(*train, "fine_labels"), "test": cifar_python(*test, "fine_labels")},
    )
    for root in ("b", "p"):
        source = load_cifar(BuiltinData(name="cifar100", data_dir=str(small / root)))
        assert (source.train_x.tolist(), source.train_y.tolist()) == expected([train])
        assert (source.test_x.tolist(), source.test_y.tolist()) == expected([test])


def test_archives_are_read_without_unpacking(small: Path) -> None:
    (small / "data").mkdir()
    path = small / "data/cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in cifar10_files("binary").items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    source = load_cifar(BuiltinData(name="cifar10"))
    assert (source.train_x.tolist(), source.train_y.tolist()) == expected(BATCHES[:5])
    assert list((small / "data").iterdir()) == [path]


def test_the_binary_format_is_preferred(small: Path) -> None:
    write(small / "data/cifar-10-batches-py", dict.fromkeys(cifar10_files("python 3"), b"?"))
    write(small / "data/cifar-10-batches-bin", cifar10_files("binary"))
    assert len(load_cifar(BuiltinData(name="cifar10")).train_y) == 5 * PER_BATCH


def test_a_missing_record_is_noticed(small: Path) -> None:
    files = cifar10_files("binary")
    files["data_batch_3.bin"] = files["data_batch_3.bin"][:-3073]
    write(small / "data/cifar-10-batches-bin", files)
    with pytest.raises(DataError, match="got 99 training and 20 test images, expected 100 and 20"):
        load_cifar(BuiltinData(name="cifar10"))


def test_the_real_ones_have_sixty_thousand_images() -> None:
    for name, classes in (("cifar10", 10), ("cifar100", 100)):
        assert DATASETS[name].images == (50_000, 10_000)
        assert DATASETS[name].classes == classes


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, -1), slice(1, None), slice(0, 100)])
def test_binary_files_must_be_whole_records(cut: slice) -> None:
    with pytest.raises(DataError, match=r"^f: got \d+ bytes, expected records of 3073 bytes"):
        parse_binary(cifar_binary(*BATCHES[0])[cut], 1, "f")


def test_a_malicious_batch_is_refused(small: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, ("touch intruder",)

    files = cifar10_files("python 3")
    files["data_batch_2"] = pickle.dumps({"data": BATCHES[0][0], "labels": Hostile()}, 2)
    write(small / "data/cifar-10-batches-py", files)
    with pytest.raises(DataError, match=r"data_batch_2: cannot be unpickled: refers to \w+\.sys"):
        load_cifar(BuiltinData(name="cifar10"))
    assert not (small / "intruder").exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "expected 'data', an array"),
        ({"labels": [1]}, "expected 'data', an array"),
        ({"data": [1], "labels": [1]}, "expected 'data', an array"),
        (
            {"data": np.zeros((1, 3071), np.uint8), "labels": [1]},
            r"expected 'data', an array of unsigned bytes \(n, 3072\)",
        ),
        ({"data": np.zeros((1, 3072), np.uint8)}, "expected 'labels', a list"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [256]}, "expected 'labels', a list"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [True]}, "expected 'labels', a list"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "got 2 images but 1 labels"),
    ],
)
def test_a_batch_must_be_laid_out_right(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^f: {message}"):
        parse_python(pickle.dumps(batch, 2), "labels", "f")


def test_files_that_are_nowhere(empty_machine: Path) -> None:
    with pytest.raises(DataError, match="cifar-100-binary\\.tar\\.gz: network is unreachable"):
        load_cifar(BuiltinData(name="cifar100"))
