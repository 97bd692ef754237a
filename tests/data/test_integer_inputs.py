"""Token ids and other integers reach networks as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.data import load_dataset
from orchestrator.errors import DataError, ModelError
from orchestrator.models import build_model
from orchestrator.study.data_options import NpzData
from orchestrator.study.model_options import MlpOptions

Y = np.arange(6) % 3


def dataset(tmp_path, x, **options):
    path = tmp_path / "own.npz"
    np.savez(path, x_train=x, y_train=Y, x_test=x, y_test=Y)
    return load_dataset(NpzData(name="npz", path=str(path), **options))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "int64", "uint64", ">i4"])
@pytest.mark.parametrize("standardize", [True, False])
def test_integer_inputs_stay_integers(tmp_path, dtype, standardize) -> None:
    x = np.arange(24).reshape(6, 4).astype(dtype)
    found = dataset(tmp_path, x, standardize=standardize, train_size=3)
    assert found.train_x.dtype == found.test_x.dtype == torch.int64
    assert found.test_x.tolist() == x.tolist()


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float16", "float32", "float64"])
def test_pixels_and_real_numbers_are_standardized(tmp_path, dtype) -> None:
    found = dataset(tmp_path, np.arange(24).reshape(6, 4).astype(dtype))
    assert found.train_x.dtype == torch.float32
    assert found.train_x.mean().abs() < 1e-6


def test_integers_beyond_int64_are_refused(tmp_path) -> None:
    x = np.full((6, 4), 2**64 - 1, dtype=np.uint64)
    with pytest.raises(DataError, match=r"x_train: got 18446744073709551615, expected .* int64"):
        dataset(tmp_path, x)


def test_built_in_networks_refuse_integer_inputs() -> None:
    with pytest.raises(
        ModelError, match=r"model 'mlp': got inputs of type torch\.int64.*\n.*float32"
    ):
        build_model(MlpOptions(name="mlp"), (4,), 3, 0, torch.int64)
