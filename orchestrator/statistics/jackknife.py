"""The jackknife over trials: intervals of smooth statistics of few seeds.

Each trial is left out in turn, the others of its stratum counting more in its place. The variance
of a stratum of n trials is (n − 1)/n of the sum of squares of the statistic without each, around
their mean, and strata add up (Shao and Tu 1995, "The Jackknife and Bootstrap", section 6.2.1).
Some strata carry most of the variance, so Student's quantile is that of the degrees of freedom
that Satterthwaite's approximation gives (1946, "An approximate distribution of estimates of
variance components", Biometrics Bulletin 2, 110–114), not that of all trials together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from orchestrator.statistics.estimate import FloatArray, IntArray


def jackknife_weights(strata: Sequence[IntArray]) -> FloatArray:
    """How much each trial counts where one is left out: shape (trials, trials), a row for each.

    Args:
        strata: The trials of each stratum, at least two; together each of 0 to trials − 1 once.

    Raises:
        ValueError: If a stratum has a single trial.
    """
    trials = sum(len(members) for members in strata)
    weights = np.ones((trials, trials))
    for members in strata:
        size = len(members)
        if size < 2:
            raise ValueError("a stratum of one trial has no jackknife")
        weights[np.ix_(members, members)] = size / (size - 1)
    np.fill_diagonal(weights, 0.0)
    return weights


def jackknife_interval(
    value: float, left_out: FloatArray, strata: Sequence[IntArray], level: float
) -> tuple[float | None, float | None]:
    """Interval of a statistic from its values with one trial left out.

    Args:
        value: The statistic of all trials.
        left_out: Shape (trials,), the statistic under each row of :func:`jackknife_weights`.
        strata: As given there.
        level: Confidence level.

    Returns:
        Both ends; (None, None) if the statistic is undefined without some trial.
    """
    if not np.all(np.isfinite(left_out)):
        return None, None
    variances = np.array(
        [(len(one) - 1) * float(np.var(left_out[one])) for one in strata], dtype=np.float64
    )
    variance = float(variances.sum())
    if variance <= 0:
        return value, value
    freedom = np.array([len(one) - 1 for one in strata])
    pooled = variance**2 / float(np.sum(variances**2 / freedom))
    half_width = float(stats.t.ppf((1 + level) / 2, pooled)) * variance**0.5
    return value - half_width, value + half_width
