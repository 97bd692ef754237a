"""Share of the variance between curves that the level of a hyperparameter explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.statistics.intervals.estimate import FloatArray, IntArray
from orchestrator.statistics.intervals.magnitude import usual


def shares(
    values: FloatArray, factor: IntArray, strata: Sequence[IntArray], weights: FloatArray
) -> FloatArray:
    """Return the share of the variance between the levels of a factor, for each row of weights.

    The layout is levels × columns. The numerator is the sum of squares between levels within each
    column, minus its expected value under chance alone. The denominator is the sum of squares of
    all values around their mean. If columns are points in time, growth common to all trials thus
    counts in the denominator only. Without the correction (which turns η² into ω²), levels with
    few trials differ by their seeds, so a factor without effect would get a share.

    Args:
        values: Shape (trials, columns), finite.
        factor: Shape (trials,), from 0.
        strata: Trials that differ by chance only, in groups of one level each. Groups of a single
            trial carry no information on chance, and are not corrected for.
        weights: Shape (r, trials), the weight of each trial.

    Returns:
        Shape (r,), at most 1; below 0 if levels differ less than by chance, NaN if nothing varies.
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
    """Return weight (r,), mean (r, columns) and sum of squares around it (r,) of some trials."""
    inside = weights[:, members]
    size = inside.sum(axis=1)
    mean = inside @ values[members] / _positive(size)[:, None]
    squares = inside @ (values[members] ** 2).sum(axis=1) - size * (mean**2).sum(axis=1)
    return size, mean, squares


def level_codes(labels: Sequence[object]) -> IntArray:
    """Number labels from 0 in order of appearance: shape (n,)."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def _positive(values: FloatArray) -> FloatArray:
    return np.where(values > 0, values, 1)
