"""Steps common to all correlations: excluding rows, the value, and its interval.

Non-finite rows are left out and counted. With groups, the interval comes from the bootstrap over
trials (:mod:`.bootstrap`). Without groups, rows are taken as independent, and the classical
interval on Fisher's z scale is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from orchestrator.statistics.intervals.bootstrap import (
    LEVEL,
    RESAMPLES,
    Groups,
    Scale,
    fisher,
    student_interval,
    student_p_value,
    why_no_interval,
)
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.magnitude import usual

_FEWEST_ROWS = 3
_RESAMPLED_CELLS = 4_000_000


@dataclass(frozen=True)
class Resampling:
    """Settings of an interval: its level, the number of resamples, and their seed."""

    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = 0


DEFAULT = Resampling()

Resampled = Callable[[FloatArray], FloatArray]
Statistic = Callable[[FloatArray, Groups], tuple[float, Resampled]]


def correlation_estimate(
    columns: FloatArray,
    groups: Groups | None,
    resampling: Resampling,
    statistic: Statistic,
    standard_error: Callable[[float, int], float],
    finest: Callable[[int], float] = lambda n: 1e-12,
) -> Estimate:
    """Exclude non-finite rows, then compute the value and its interval.

    Args:
        columns: Shape (d, n); the first two are correlated.
        groups: The trial and condition of each row; None if rows are independent.
        resampling: Resampling settings of the interval.
        statistic: Maps finite columns to the value, and a function that recomputes it from rows
            of trial weights.
        standard_error: Maps value and number of rows to the standard error on the z scale, for
            independent rows.
        finest: Maps the number of rows to the smallest distance from ±1 that can be resolved.
    """
    kept = all_finite(columns.T)
    table = np.array([usual(column) for column in columns[:, kept]])
    n, excluded = table.shape[1], int(np.sum(~kept))
    rows = range(n)
    inner = Groups.of(rows, rows) if groups is None else groups.select(kept)
    level = resampling.level

    def missing(reason: str) -> Estimate:
        return Estimate(None, None, None, level, n, inner.trials, excluded, reason)

    if n < _FEWEST_ROWS:
        return missing(f"{n} row{'s' * (n != 1)}; a correlation needs at least {_FEWEST_ROWS}")
    if any(is_constant(column) for column in table):
        return missing("a column is constant")
    value, resampled = statistic(table, inner)
    if not math.isfinite(value):
        return missing("a column is a linear function of the controls")
    if groups is None:
        error = standard_error(value, n)
        half_width = float(stats.norm.ppf((1 + level) / 2)) * error
        centre = math.atanh(max(-1 + 1e-15, min(1 - 1e-15, value)))
        low, high = math.tanh(centre - half_width), math.tanh(centre + half_width)
        p_value = float(2 * stats.norm.sf(abs(centre) / error))
        return Estimate(value, low, high, level, n, inner.trials, excluded, p_value=p_value)
    if reason := why_no_interval(inner):
        return Estimate(value, None, None, level, n, inner.trials, excluded, reason)
    weights = inner.weights(resampling.resamples, resampling.seed)
    step = max(1, _RESAMPLED_CELLS // n)
    values = np.concatenate(
        [resampled(weights[start : start + step]) for start in range(0, len(weights), step)]
    )
    bare = Estimate(value, None, None, level, n, inner.trials, excluded)
    return with_resamples(bare, values, inner.degrees_of_freedom, fisher(finest(n)))


def with_resamples(
    bare: Estimate, resampled: FloatArray, degrees_of_freedom: int, scale: Scale
) -> Estimate:
    """Add the interval and the p-value, or the reason that they are missing.

    Args:
        bare: Estimate without an interval; returned unchanged if it has no value either.
        resampled: Shape (resamples,); NaN where the statistic was undefined.
        degrees_of_freedom: Degrees of freedom of the trials used.
        scale: Scale on which the statistic is about normal.
    """
    if bare.value is None:
        return bare
    if degrees_of_freedom < 1:
        return replace(bare, reason="no interval without repeated trials")
    low, high = student_interval(bare.value, resampled, degrees_of_freedom, scale, bare.level)
    if low is None:
        return replace(bare, reason="undefined in too many resamples")
    p_value = student_p_value(bare.value, resampled, degrees_of_freedom, scale)
    return replace(bare, low=low, high=high, p_value=p_value)


def z_error(freedom: int) -> float:
    """Return the standard error 1/√freedom on Fisher's z scale; infinite if nothing is free."""
    return 1 / math.sqrt(freedom) if freedom > 0 else math.inf


def is_constant(column: FloatArray) -> bool:
    """Return whether a finite column of shape (n,) has a single value, up to rounding."""
    # A smaller spread is rounding error, not signal.
    return float(np.std(column)) <= 1e-13 * float(np.max(np.abs(column)))
