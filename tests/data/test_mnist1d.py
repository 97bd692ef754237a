from __future__ import annotations

import random
from typing import Any

import mnist1d.data
import numpy as np
import pytest
import torch

from orchestrator.data import load_dataset
from orchestrator.data.mnist1d import load_mnist1d
from orchestrator.study.data_options import BuiltinData


@pytest.mark.slow
def test_it_is_the_canonical_data_set_and_leaves_no_trace() -> None:
    expected = mnist1d.data.make_dataset()
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()
    dataset = load_dataset(BuiltinData(name="mnist1d", standardize=False))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert (dataset.train_x.shape, dataset.test_x.shape) == ((4000, 40), (1000, 40))
    assert torch.equal(dataset.train_x, torch.from_numpy(expected["x"]).float())
    assert torch.equal(dataset.test_x, torch.from_numpy(expected["x_test"]).float())
    assert dataset.train_y.tolist() == expected["y"].tolist()
    assert dataset.test_y.tolist() == expected["y_test"].tolist()
    assert (dataset.input_shape, dataset.classes) == ((40,), 10)


@pytest.mark.parametrize(
    ("seed", "generator_seed"), [(0, 42), (1, 43), (-42, 0), (-43, 2**32 - 1), (2**40, 42)]
)
def test_the_seed_reaches_the_generator(
    monkeypatch: pytest.MonkeyPatch, seed: int, generator_seed: int
) -> None:
    def make_dataset(arguments: Any) -> dict[str, Any]:
        np.random.seed(arguments.seed)
        seeds.append(arguments.seed)
        return dict.fromkeys(("x", "y", "x_test", "y_test"), np.zeros(1))

    seeds: list[int] = []
    monkeypatch.setattr("mnist1d.data.make_dataset", make_dataset)
    load_mnist1d(BuiltinData(name="mnist1d", seed=seed))
    assert seeds == [generator_seed]


def test_a_failing_generator_puts_the_random_numbers_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        random.seed(1)
        raise MemoryError

    monkeypatch.setattr("mnist1d.data.make_dataset", fail)
    before = random.getstate()
    with pytest.raises(MemoryError):
        load_mnist1d(BuiltinData(name="mnist1d"))
    assert random.getstate() == before
