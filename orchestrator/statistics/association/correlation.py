"""Pearson's correlation r of two measures, plain and partial."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.association.moments import (
    covariance,
    partial_correlation_of,
    row_moments,
    standardized,
)
from orchestrator.statistics.intervals.bootstrap import LEVEL, Groups, as_floats
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.inference import CORRELATIONS, infer
from orchestrator.statistics.intervals.over_conditions import correlation_within
from orchestrator.statistics.intervals.resampling import (
    DEFAULT,
    Resampled,
    Resampling,
    correlation_estimate,
    z_error,
)
from orchestrator.statistics.study_design import Design


def pearson(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    groups: Groups | None = None,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Estimate Pearson's r.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        groups: The trial and condition of each row; None if rows are independent.
        resampling: Resampling settings of the interval.

    Returns:
        The correlation; its value is None for fewer than 3 rows or a constant column.
    """
    return partial_pearson(x, y, [], groups, resampling)


def partial_pearson(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    controls: Sequence[npt.ArrayLike],
    groups: Groups | None = None,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Estimate Pearson's r between residuals of ``x`` and ``y`` after a linear fit on ``controls``.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        controls: Columns of shape (n,) to hold fixed; an empty sequence gives Pearson's r.
        groups: The trial and condition of each row; None if rows are independent.
        resampling: Resampling settings of the interval.
    """
    rows = [as_floats(x), as_floats(y), *(as_floats(control) for control in controls)]
    columns = np.stack(rows)

    held = len(controls)
    return correlation_estimate(
        columns, groups, resampling, pearson_of_weights, lambda r, n: z_error(n - held - 3)
    )


def pearson_of_weights(table: FloatArray, groups: Groups) -> tuple[float, Resampled]:
    """Return r of two finite columns given the others, and a function to recompute it.

    Args:
        table: Shape (d, n), finite.
        groups: The trial and condition of each row; the function takes rows of trial weights.
    """
    sums = groups.sums(row_moments(standardized(table)))

    def resampled(weights: FloatArray) -> FloatArray:
        return partial_correlation_of(covariance(np.tensordot(weights, sums, axes=1)))

    return float(resampled(np.ones((1, groups.trials)))[0]), resampled


def within_pearson(
    x: npt.ArrayLike, y: npt.ArrayLike, groups: Groups, level: float = LEVEL
) -> Estimate:
    """Estimate Pearson's r within conditions, from trial means minus their condition's mean.

    A correlation over all rows can come from differences between conditions alone, and can
    even have the opposite sign of every correlation within them (Simpson's paradox). Trials are
    averaged first: centred single snapshots would mix in the effects of training that all
    networks share, more so with fewer seeds.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        groups: The trial and condition of each row.
        level: Confidence level of the interval, which comes from leaving out conditions.
    """
    columns = np.stack([as_floats(x), as_floats(y)])
    kept = all_finite(columns.T)
    inner = groups.select(kept)
    several = np.bincount(inner.condition)[inner.condition] > 1
    rows = several[inner.trial]
    table, inner = columns[:, kept][:, rows], inner.select(rows)
    excluded = int(np.sum(~kept))
    return infer(
        correlation_within(table, inner),
        inner,
        Design(),
        CORRELATIONS,
        rows=table.shape[1],
        excluded=excluded,
        undefined="no condition has two trials that differ",
        seeds=False,
        level=level,
    ).estimate
