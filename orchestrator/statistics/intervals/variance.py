"""How much of the variance between curves the level of a hyperparameter explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.statistics.intervals.estimate import FloatArray, IntArray
from orchestrator.statistics.intervals.magnitude import usual


def shares(
    values: FloatArray, factor: IntArray, strata: Sequence[IntArray], weights: FloatArray
) -> FloatArray:
    """Share of the variance that lies between the levels of a factor, once per row of weights.

    In the layout levels × columns: the sum of squares between the levels inside each column, less
    what chance alone puts there, over the sum of squares of all values around their mean. Where
    columns are points of time, the growth all trials share is thus part of the whole, not of the
    share. Without the correction (which makes ω² of η²) levels of few trials differ by their
    seeds, so a factor that does nothing had a share.

    Args:
        values: Shape (trials, columns), finite.
        factor: Shape (trials,), from 0.
        strata: Trials that differ by chance only, in groups of one level each. Groups of a single
            trial say nothing about chance, and nothing is corrected for them.
        weights: Shape (r, trials), how much each trial counts.

    Returns:
        Shape (r,), at most 1, below 0 where levels differ less than by chance; NaN where nothing
        varies.
    """
    values = usual(values)
    centred = values - values.mean()
    columns = values.shape[1]
    whole = _positive(weights.sum(axis=1))
    mean = weights @ centred / whole[:, None]
    grand = mean.mean(axis=1)
    total = weights @ (centred**2).sum(axis=1) - whole * columns * grand**2
    between = np.zeros(len(weights))
    sizes = []
    for level in range(int(factor.max()) + 1):
        size, inside, _ = _moments(centred, factor == level, weights)
        between += size * ((inside - mean) ** 2).sum(axis=1)
        sizes.append(_positive(size))
    chance = np.zeros(len(weights))
    for members in strata:
        if len(members) > 1:
            size, _, squares = _moments(centred, members, weights)
            in_level = sizes[int(factor[members[0]])]
            variance = squares / (len(members) - 1)
            chance += size / in_level * (1 - in_level / whole) * variance
    known = total > 1e-12 * _positive(weights @ (values**2).sum(axis=1))
    return np.where(known, (between - chance) / np.where(known, total, 1), np.nan)


def _moments(
    values: FloatArray, members: IntArray | np.ndarray, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weight (r,), mean (r, columns) and sum of squares around it (r,) of some trials."""
    inside = weights[:, members]
    size = inside.sum(axis=1)
    mean = inside @ values[members] / _positive(size)[:, None]
    squares = inside @ (values[members] ** 2).sum(axis=1) - size * (mean**2).sum(axis=1)
    return size, mean, squares


def level_codes(labels: Sequence[object]) -> IntArray:
    """Number labels from 0 in the order they appear: shape (n,)."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def _positive(values: FloatArray) -> FloatArray:
    return np.where(values > 0, values, 1)
