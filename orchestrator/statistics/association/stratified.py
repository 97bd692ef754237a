"""Correlation within strata: between networks that were trained equally far.

A stratum is a train loss, a number of updates or an epoch. Only rows of the same stratum are
compared, so that changes along training common to all networks cause no correlation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from orchestrator.statistics.association.concordance import Compared
from orchestrator.statistics.association.correlation import pearson
from orchestrator.statistics.intervals.bootstrap import Groups, as_floats
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, IntArray, all_finite
from orchestrator.statistics.intervals.resampling import (
    DEFAULT,
    Resampling,
    correlation_estimate,
    z_error,
)

StratifiedStatistic = Literal["pearson", "spearman", "kendall"]


def stratified_correlation(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    stratum: IntArray,
    groups: Groups,
    statistic: StratifiedStatistic = "kendall",
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Estimate the correlation of ``x`` and ``y`` over rows of the same stratum.

    - ``pearson``: r after each stratum's mean is removed.
    - ``spearman``: the same for mid-ranks within the stratum, as shares of its size.
    - ``kendall``: τ_b over the pairs of rows that share a stratum.

    Rows alone in their stratum cannot be compared; they are left out and counted.

    Args:
        x: Shape (n,).
        y: Shape (n,). Non-finite rows are left out and counted.
        stratum: Shape (n,), the stratum of each row, any numbers.
        groups: The trial and condition of each row.
        statistic: The correlation to estimate.
        resampling: Resampling settings of the interval.
    """
    columns = np.stack([as_floats(x), as_floats(y)])
    kept = all_finite(columns.T)
    _, strata, sizes = np.unique(stratum[kept], return_inverse=True, return_counts=True)
    compared = sizes[strata] > 1
    kept[kept] = compared
    table, inner = columns[:, kept], groups.select(kept)
    _, strata = np.unique(strata[compared], return_inverse=True)
    if statistic == "kendall":
        estimate = _kendall(table, strata, inner, resampling)
    else:
        rank = _ranks if statistic == "spearman" else np.array
        inside = [_per_stratum(column, strata, _centred(rank)) for column in table]
        estimate = pearson(inside[0], inside[1], inner, resampling)
    return replace(estimate, n_excluded=int(np.sum(~kept)))


def _kendall(table: FloatArray, strata: IntArray, groups: Groups, how: Resampling) -> Estimate:
    sizes = np.bincount(strata)
    pairs = float(np.sum(sizes * (sizes - 1) / 2))

    return correlation_estimate(
        table,
        groups,
        how,
        lambda finite, inner: Compared.of(finite, inner, stratum=strata).with_value(),
        lambda r, n: math.sqrt(0.437) * z_error(n - 4),
        finest=lambda n: 1 / pairs,
    )


def _per_stratum(
    column: FloatArray, strata: IntArray, change: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    changed = np.zeros_like(column)
    for one in range(int(strata.max(initial=-1)) + 1):
        rows = strata == one
        changed[rows] = change(column[rows])
    return changed


def _centred(rank: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    def centred(values: FloatArray) -> FloatArray:
        ranked = rank(values)
        left: FloatArray = ranked - ranked.mean()
        return left

    return centred


def _ranks(values: FloatArray) -> FloatArray:
    ranks: FloatArray = (stats.rankdata(values) - 0.5) / len(values)
    return ranks
