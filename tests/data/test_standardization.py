from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.data.standardization import channel_statistics, standardize


@pytest.mark.parametrize("shape", [(2500, 3, 4, 5), (2500, 3, 6)])
def test_each_channel_is_standardized_by_the_training_split(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    offset = np.array([5.0, -3.0, 100.0]).reshape(1, 3, *[1] * (len(shape) - 2))
    train = (random.standard_normal(shape) * 2 + offset).astype(np.float32)
    test = (random.standard_normal((7, *shape[1:])) + offset).astype(np.float32)
    train_x, test_x = torch.from_numpy(train.copy()), torch.from_numpy(test.copy())
    standardize(train_x, test_x)
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    mean = train.astype(np.float64).mean(axis=axes, keepdims=True)
    deviation = train.astype(np.float64).std(axis=axes, keepdims=True)
    np.testing.assert_allclose(train_x.numpy(), (train - mean) / deviation, atol=1e-5)
    np.testing.assert_allclose(test_x.numpy(), (test - mean) / deviation, atol=1e-5)


def test_flat_inputs_count_as_one_channel() -> None:
    x = torch.tensor([[0.0, 10.0], [2.0, 12.0]])
    mean, deviation = channel_statistics(x)
    assert (mean.item(), deviation.item()) == pytest.approx((6.0, 26.0**0.5))


@pytest.mark.parametrize("value", [0.0, 0.1, -7e5])
def test_a_constant_channel_becomes_zero(value: float) -> None:
    train_x = torch.full((1500, 2, 3, 3), value)
    train_x[:, 1] = torch.arange(9.0).view(3, 3)
    test_x = train_x[:2].clone()
    standardize(train_x, test_x)
    assert torch.isfinite(train_x).all()
    assert train_x[:, 0].abs().max() < 1e-5
    assert train_x[:, 1].std() == pytest.approx(1.0, abs=1e-3)
    assert torch.equal(test_x, train_x[:2])


def test_the_number_of_threads_does_not_change_the_statistics() -> None:
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((1200, 3, 16, 16))).float()
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(channel_statistics(x))
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
