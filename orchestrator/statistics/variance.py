"""How much of the variance between trials a hyperparameter explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.statistics.bootstrap import Groups, student_interval, why_no_interval
from orchestrator.statistics.estimate import Estimate, FloatArray, IntArray, all_finite
from orchestrator.statistics.resampling import DEFAULT, Resampling


def shares(values: FloatArray, factor: IntArray, weights: FloatArray) -> FloatArray:
    """Share of the variance that lies between the levels of a factor, once per row of weights.

    η² of the factor in the layout levels × columns: the sum of squares between the levels
    inside each column, over the sum of squares of all values around their mean. Where columns
    are points of time, the growth all trials share is thus part of the whole, not of the share.

    Args:
        values: Shape (trials, columns), finite.
        factor: Shape (trials,), from 0.
        weights: Shape (r, trials), how much each trial counts.

    Returns:
        Shape (r,), in [0, 1]; NaN where nothing varies.
    """
    columns = values.shape[1]
    centred = values - values.mean()
    whole = _positive(weights.sum(axis=1))
    mean = weights @ centred / whole[:, None]
    grand = mean.mean(axis=1)
    total = weights @ (centred**2).sum(axis=1) - whole * columns * grand**2
    between = np.zeros(len(weights))
    for level in range(int(factor.max()) + 1):
        members = factor == level
        inside = weights[:, members]
        size = inside.sum(axis=1)
        difference = inside @ centred[members] / _positive(size)[:, None] - mean
        between += size * (difference**2).sum(axis=1)
    known = total > 1e-12 * _positive(weights @ (values**2).sum(axis=1))
    ratio = between / np.where(known, total, 1)
    return np.where(known, np.clip(ratio, 0, 1), np.nan)


def variance_share(
    values: FloatArray,
    factor: Sequence[object],
    groups: Groups,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Share η² of the variance that lies between the levels of a factor, with its interval.

    In one column, η² of k levels and n trials is (k − 1)/(n − 1) on average where the factor
    does nothing. With few seeds it stays too large, and its interval with it: in simulated studies
    of two seeds a condition 95 % intervals covered a share of 0.4 in 81 %. For one column
    :func:`factor_share` has neither fault.

    Args:
        values: Shape (trials,) or (trials, columns), see :func:`shares`. Trials with a value
            that is not finite are left out and counted.
        factor: Shape (trials,), the level of each trial, any labels.
        groups: One row for each trial.
        resampling: How the interval is made.
    """
    table = values.reshape(len(values), -1)
    kept = all_finite(table)
    table, inner = table[kept], groups.select(kept)
    codes = level_codes([label for label, keep in zip(factor, kept, strict=True) if keep])
    n, excluded, level = len(table), int(np.sum(~kept)), resampling.level
    if len(np.unique(codes)) < 2:
        reason = "the factor has fewer than two levels"
        return Estimate(None, None, None, level, n, inner.trials, excluded, reason)
    value = float(shares(table, codes, np.ones((1, n)))[0])
    if not np.isfinite(value):
        reason = "nothing varies between trials"
        return Estimate(None, None, None, level, n, inner.trials, excluded, reason)
    if reason := why_no_interval(inner):
        return Estimate(value, None, None, level, n, inner.trials, excluded, reason)
    weights = inner.weights(resampling.resamples, resampling.seed)[:, inner.trial]
    resampled = shares(table, codes, weights)
    low, high = student_interval(value, resampled, inner.degrees_of_freedom, level=level)
    if low is None or high is None:
        reason = "too many resamples leave it undefined"
        return Estimate(value, None, None, level, n, inner.trials, excluded, reason)
    return Estimate(value, max(0.0, low), min(1.0, high), level, n, inner.trials, excluded)


def level_codes(labels: Sequence[object]) -> IntArray:
    """Number labels from 0 in the order they appear: shape (n,)."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def _positive(values: FloatArray) -> FloatArray:
    return np.where(values > 0, values, 1)
