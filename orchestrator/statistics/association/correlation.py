"""How strongly two measures move together: Pearson's r, whole and partial."""

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
    """Pearson's r.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        groups: The trial and condition of each row; None if rows are independent.
        resampling: How the interval is made.

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
    """Pearson's r between what a linear fit on ``controls`` leaves of ``x`` and of ``y``.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        controls: Columns of shape (n,) that are held fixed; none give Pearson's r.
        groups: The trial and condition of each row; None if rows are independent.
        resampling: How the interval is made.
    """
    rows = [as_floats(x), as_floats(y), *(as_floats(control) for control in controls)]
    columns = np.stack(rows)

    held = len(controls)
    return correlation_estimate(
        columns, groups, resampling, pearson_of_weights, lambda r, n: z_error(n - held - 3)
    )


def pearson_of_weights(table: FloatArray, groups: Groups) -> tuple[float, Resampled]:
    """Find r of two finite columns given the others, and what gives it for rows of weights.

    Args:
        table: Shape (d, n), finite.
        groups: The trial and condition of each row; rows of weights are of its trials.
    """
    sums = groups.sums(row_moments(standardized(table)))

    def resampled(weights: FloatArray) -> FloatArray:
        return partial_correlation_of(covariance(np.tensordot(weights, sums, axes=1)))

    return float(resampled(np.ones((1, groups.trials)))[0]), resampled


def within_pearson(
    x: npt.ArrayLike, y: npt.ArrayLike, groups: Groups, level: float = LEVEL
) -> Estimate:
    """Pearson's r inside conditions: of trial means around the mean of their condition.

    A correlation over all rows can come from differences between conditions alone, and can
    even have the opposite sign of every correlation inside them (Simpson's paradox). Trials are
    averaged first: centred single snapshots would mix in what training does to all networks
    alike, the more the fewer seeds there are.

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
