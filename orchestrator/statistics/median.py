"""The median of a quantity, with an interval over trials."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.bootstrap import (
    LINEAR,
    Groups,
    Scale,
    as_floats,
    student_interval,
    why_no_interval,
)
from orchestrator.statistics.estimate import Estimate, FloatArray, all_finite
from orchestrator.statistics.magnitude import back, power_of_two
from orchestrator.statistics.resampling import DEFAULT, Resampling

_RESAMPLED_CELLS = 4_000_000


def median(
    values: npt.ArrayLike,
    groups: Groups,
    scale: Scale = LINEAR,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Median over rows; values that are not finite are left out and counted.

    Args:
        values: Shape (n,).
        groups: The trial and condition of each row.
        scale: Where the median is about normal; logarithmic for ratios of times.
        resampling: How the interval is made.
    """
    column = as_floats(values)
    kept = all_finite(column)
    column, inner = column[kept], groups.select(kept)
    n, excluded, level = len(column), int(np.sum(~kept)), resampling.level
    if n == 0:
        return Estimate(None, None, None, level, 0, 0, excluded, "no finite value")
    power = power_of_two(column)
    column = np.ldexp(column, -power)
    value = float(np.median(column))
    whole = back(value, power)
    if reason := why_no_interval(inner):
        return Estimate(whole, None, None, level, n, inner.trials, excluded, reason)
    order = np.argsort(column, kind="stable")
    ordered, trial = column[order], inner.trial[order]
    weights = inner.weights(resampling.resamples, resampling.seed)
    step = max(1, _RESAMPLED_CELLS // n)
    resampled = np.concatenate(
        [
            _weighted_medians(ordered, weights[start : start + step, trial])
            for start in range(0, len(weights), step)
        ]
    )
    ends = student_interval(value, resampled, inner.degrees_of_freedom, scale, level)
    low, high = (back(end, power) for end in ends)
    return Estimate(whole, low, high, level, n, inner.trials, excluded)


def _weighted_medians(ordered: FloatArray, weights: FloatArray) -> FloatArray:
    """Median of sorted values for each row of weights (r, n): where half the weight is reached."""
    reached = np.cumsum(weights, axis=1)
    half = reached[:, -1:] / 2
    lower = np.argmax(reached >= half - 1e-9, axis=1)
    upper = np.argmax(reached > half + 1e-9, axis=1)
    medians: FloatArray = (ordered[lower] + ordered[upper]) / 2
    return medians
