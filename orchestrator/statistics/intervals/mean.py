"""The mean of a quantity, with an interval over trials."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.intervals.bootstrap import (
    Groups,
    as_floats,
    student_interval,
    why_no_interval,
)
from orchestrator.statistics.intervals.estimate import Estimate, all_finite
from orchestrator.statistics.intervals.magnitude import back, power_of_two
from orchestrator.statistics.intervals.resampling import DEFAULT, Resampling


def mean(values: npt.ArrayLike, groups: Groups, resampling: Resampling = DEFAULT) -> Estimate:
    """Estimate the mean over rows; non-finite values are left out and counted.

    Args:
        values: Shape (n,).
        groups: The trial and condition of each row.
        resampling: Resampling settings of the interval.
    """
    column = as_floats(values)
    kept = all_finite(column)
    column, inner = column[kept], groups.select(kept)
    n, excluded, level = len(column), int(np.sum(~kept)), resampling.level
    if n == 0:
        return Estimate(None, None, None, level, 0, 0, excluded, "no finite value")
    power = power_of_two(column)
    column = np.ldexp(column, -power)
    value = float(np.mean(column))
    whole = back(value, power)
    if reason := why_no_interval(inner):
        return Estimate(whole, None, None, level, n, inner.trials, excluded, reason)
    weights = inner.weights(resampling.resamples, resampling.seed)
    # Differences from the mean keep all digits of large values.
    sums, rows = inner.sums(column - value), inner.sums(np.ones(n))
    resampled = value + (weights @ sums) / (weights @ rows)
    ends = student_interval(value, resampled, inner.degrees_of_freedom, level=level)
    low, high = (back(end, power) for end in ends)
    return Estimate(whole, low, high, level, n, inner.trials, excluded)
