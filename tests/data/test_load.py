from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.data import Dataset, load_dataset
from orchestrator.errors import DataError
from orchestrator.study.data_options import BuiltinData, NpzData

TOTAL = 90
LABELS = np.arange(TOTAL) % 3


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Ninety images whose pixels tell their position."""
    x = np.arange(TOTAL, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 2), np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=LABELS, x_test=x[::-1], y_test=LABELS[::-1])
    return str(tmp_path / "mine.npz")


def load(path: str, **options: Any) -> Dataset:
    return load_dataset(NpzData(name="npz", path=path, **options))


def positions(dataset: Dataset) -> list[int]:
    return (dataset.train_x[:, 0, 0, 0] * 255).round().long().tolist()


def test_the_whole_data_set_keeps_its_order(path: str) -> None:
    dataset = load(path, standardize=False)
    assert positions(dataset) == list(range(TOTAL))
    assert dataset.train_y.tolist() == LABELS.tolist()
    assert dataset.test_y.tolist() == LABELS[::-1].tolist()
    assert dataset.train_x.max() == pytest.approx(89 / 255)
    everything = load(path, standardize=False, train_size=TOTAL)
    assert torch.equal(everything.train_x, dataset.train_x)


def test_smaller_subsets_are_contained_in_larger_ones_with_their_labels(path: str) -> None:
    kept: dict[int, int] = {}
    for size in (90, 60, 33, 6):
        dataset = load(path, train_size=size, label_noise=0.3, seed=4, standardize=False)
        labels = dict(zip(positions(dataset), dataset.train_y.tolist(), strict=True))
        assert len(labels) == size
        assert list(labels) == sorted(labels)
        assert sum(label != LABELS[position] for position, label in labels.items()) == round(
            0.3 * size
        )
        assert np.bincount(LABELS[list(labels)]).tolist() == [size // 3] * 3
        assert not kept or labels.items() <= kept.items()
        kept = labels
        assert dataset.test_y.tolist() == LABELS[::-1].tolist()


def test_the_seed_determines_the_subset_and_the_noise(path: str) -> None:
    first, second = (load(path, train_size=30, seed=seed, standardize=False) for seed in (0, 1))
    assert positions(first) != positions(second)
    noisy = [load(path, label_noise=0.5, seed=seed).train_y for seed in (0, 0, 1)]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])


def test_both_splits_are_standardized_by_the_training_subset(path: str) -> None:
    plain = load(path, train_size=12, standardize=False)
    standardized = load(path, train_size=12)
    mean = plain.train_x.double().mean(dim=(0, 2, 3), keepdim=True)
    deviation = plain.train_x.double().std(dim=(0, 2, 3), keepdim=True, correction=0)
    for split in ("train", "test"):
        x, expected = standardized.split(split)[0], (plain.split(split)[0] - mean) / deviation
        torch.testing.assert_close(x, expected.float(), atol=1e-5, rtol=0)


def test_the_hash_identifies_the_source_not_the_selection(path: str) -> None:
    variants = [{}, {"train_size": 9}, {"label_noise": 0.2}, {"standardize": False}]
    assert len({load(path, **variant).content_hash for variant in variants}) == 1


def test_a_train_size_above_the_available_examples_is_refused(path: str) -> None:
    with pytest.raises(
        DataError, match=r"data\.train_size: got 91, but npz has 90 training examples"
    ):
        load(path, train_size=91)


def test_digits_load_standardized_and_contiguous() -> None:
    dataset = load_dataset(BuiltinData(name="digits"))
    assert dataset.train_x.shape == (1438, 1, 8, 8)
    assert dataset.train_x.dtype == torch.float32
    assert dataset.train_x.is_contiguous()
    assert dataset.train_x.std().item() == pytest.approx(1, abs=1e-3)
    assert (dataset.train_y.dtype, dataset.classes) == (torch.int64, 10)
