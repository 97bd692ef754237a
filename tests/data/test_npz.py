from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.data import load_dataset
from orchestrator.data.npz import load_npz
from orchestrator.errors import DataError
from orchestrator.study.data_options import NpzData

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 2, 0])
GOOD: dict[str, Any] = {"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2]}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_become_a_data_set(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "mine.npz"
    save(path, **GOOD, something_else=Y)
    dataset = load_dataset(NpzData(name="npz", path=str(path), standardize=False))
    assert torch.equal(dataset.train_x, torch.from_numpy(X))
    assert dataset.train_x.dtype == dataset.test_x.dtype == torch.float32
    assert dataset.train_y.tolist() == [0, 1, 2, 0]
    assert dataset.test_y.dtype == torch.int64
    assert (dataset.name, dataset.classes, dataset.input_shape) == ("npz", 3, (3,))


def test_paths_may_start_at_home(empty_machine: Path) -> None:
    np.savez(empty_machine / "mine.npz", **GOOD)
    assert load_npz(NpzData(name="npz", path="~/mine.npz")).train_y.tolist() == [0, 1, 2, 0]
    assert load_npz(NpzData(name="npz", path="mine.npz")).train_y.tolist() == [0, 1, 2, 0]


def test_python_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **{**GOOD, "y_test": np.array([object(), object()])})
    with pytest.raises(DataError, match="y_test: cannot be read: Object arrays cannot be loaded"):
        load_npz(NpzData(name="npz", path=str(path)))


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=X, y_train=Y, images=X)
    with pytest.raises(DataError, match=r"missing x_test, y_test; found x_train, y_train, images"):
        load_npz(NpzData(name="npz", path=str(path)))


def test_a_missing_file_is_named(empty_machine: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path: nowhere\.npz is not a file"):
        load_npz(NpzData(name="npz", path="nowhere.npz"))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", X)
    with pytest.raises(DataError, match=r"mine\.npy: not an \.npz file"):
        load_npz(NpzData(name="npz", path=str(tmp_path / "mine.npy")))


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(X.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="x_train: cannot be read: Bad CRC-32"):
        load_npz(NpzData(name="npz", path=str(path)))


def test_members_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in GOOD:
            archive.writestr(name, "text")
    with pytest.raises(DataError, match="x_train: not an array"):
        load_npz(NpzData(name="npz", path=str(path)))


def test_what_the_arrays_hold_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **{**GOOD, "y_train": Y + 1})
    with pytest.raises(DataError, match="y_train: class 0 of 4 has no example"):
        load_dataset(NpzData(name="npz", path=str(path)))
