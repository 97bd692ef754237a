from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits as load_bunch

from orchestrator.data.digits import load_digits
from orchestrator.study.data_options import BuiltinData


def test_every_digit_is_in_one_split_and_both_are_stratified() -> None:
    source = load_digits(BuiltinData(name="digits"))
    assert source.train_x.shape == (1438, 1, 8, 8)
    assert source.test_x.shape == (359, 1, 8, 8)
    bunch = load_bunch()

    def rows(images: np.ndarray, labels: np.ndarray) -> list[list[float]]:
        return np.column_stack([images.reshape(len(images), -1), labels]).tolist()

    both = rows(source.train_x, source.train_y) + rows(source.test_x, source.test_y)
    assert sorted(both) == sorted(rows(bunch.images, bunch.target))
    share = np.bincount(bunch.target) * 359 / 1797
    assert np.abs(np.bincount(source.test_y) - share).max() < 1


def test_the_split_is_always_the_same() -> None:
    first, second = load_digits(BuiltinData(name="digits")), load_digits(BuiltinData(name="digits"))
    assert first.content_hash() == second.content_hash()
    assert first.test_y[:12].tolist() == [0, 2, 4, 8, 1, 9, 9, 3, 5, 1, 2, 7]


def test_pixels_lie_between_zero_and_one() -> None:
    source = load_digits(BuiltinData(name="digits"))
    assert source.train_x.max() / source.scale == 1.0
    assert source.train_x.min() == 0.0
