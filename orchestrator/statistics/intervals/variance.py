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


def shares_left_out(values: FloatArray, factor: IntArray, strata: Sequence[IntArray]) -> FloatArray:
    """Return the share of :func:`shares` for all trials, and without each: shape (1 + trials,).

    Within its stratum, the others take over the weight of the trial left out, as in
    :func:`~orchestrator.statistics.intervals.jackknife.jackknife_weights`. The weights of strata,
    and so of levels, stay the same, and only sums of one stratum change: the time is linear.

    Args:
        values: Shape (trials, columns), finite.
        factor: Shape (trials,), from 0.
        strata: Trials that differ by chance only; each trial is in one stratum of at least two.
    """
    values = usual(values)
    trials, columns = values.shape
    centred = values - values.mean()
    # What is left out: first nothing, then each trial in the order of strata.
    order = np.concatenate(strata)
    size = np.concatenate([np.full(len(members), len(members)) for members in strata])
    starts = np.cumsum([0, *(len(members) for members in strata[:-1])])
    level = factor[order]
    sums = np.hstack([centred, (centred**2).sum(axis=1)[:, None], (values**2).sum(axis=1)[:, None]])
    sums = sums[order]
    of_strata = np.repeat(np.add.reduceat(sums, starts, axis=0), size[starts], axis=0)
    change = np.vstack([np.zeros(columns + 2), (of_strata - size[:, None] * sums)])
    change[1:] /= (size - 1)[:, None]
    moved, squares, raw = change[:, :columns], change[:, columns], change[:, columns + 1]
    mean = centred.mean(axis=0) + moved / trials
    total = sums[:, columns].sum() + squares - trials * columns * mean.mean(axis=1) ** 2
    own = np.concatenate([[-1], level])
    between = np.zeros(trials + 1)
    sizes = np.bincount(factor)
    for one in np.flatnonzero(sizes):
        inside = centred[factor == one].mean(axis=0) + moved * (own == one)[:, None] / sizes[one]
        between += sizes[one] * ((inside - mean) ** 2).sum(axis=1)
    # Sums of squares around the mean of each stratum, complete and without a trial.
    complete = of_strata[:, columns] - (of_strata[:, :columns] ** 2).sum(axis=1) / size
    without = of_strata[:, columns] + squares[1:]
    without -= ((of_strata[:, :columns] + moved[1:]) ** 2).sum(axis=1) / size
    weight = size / sizes[level] * (1 - sizes[level] / trials) / (size - 1)
    chance = np.full(trials + 1, np.sum((weight * complete)[starts]))
    chance[1:] += weight * (without - complete)
    known = total > 1e-12 * (sums[:, columns + 1].sum() + raw)
    share = np.where(known, (between - chance) / np.where(known, total, 1), np.nan)
    found = np.empty(trials + 1)
    found[0], found[1 + order] = share[0], share[1:]
    return found


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
