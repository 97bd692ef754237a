"""How strongly two measures move together: Pearson's r, whole and partial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.bootstrap import Groups, as_floats
from orchestrator.statistics.estimate import Estimate, FloatArray, all_finite
from orchestrator.statistics.magnitude import usual
from orchestrator.statistics.resampling import (
    DEFAULT,
    Resampled,
    Resampling,
    correlation_estimate,
    z_error,
)


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
    sums = groups.sums(_moments(_standardized(table)))
    value = float(_partial(sums.sum(axis=0)[None])[0])
    return value, lambda weights: _partial(np.tensordot(weights, sums, axes=1))


def within_pearson(
    x: npt.ArrayLike, y: npt.ArrayLike, groups: Groups, resampling: Resampling = DEFAULT
) -> Estimate:
    """Pearson's r inside conditions: of what is left when each condition's mean is removed.

    A correlation over all rows can come from differences between conditions alone, and can
    even have the opposite sign of every correlation inside them (Simpson's paradox).

    Args:
        x: Shape (n,).
        y: Shape (n,).
        groups: The trial and condition of each row.
        resampling: How the interval is made.
    """
    columns = np.stack([as_floats(x), as_floats(y)], axis=1)
    kept = all_finite(columns)
    inner = groups.select(kept)
    _, condition = np.unique(inner.condition[inner.trial], return_inverse=True)
    left = columns[kept]
    for index, column in enumerate(map(usual, left.T)):
        sums = np.bincount(condition, weights=column)
        left[:, index] = column - (sums / np.bincount(condition))[condition]
    estimate = pearson(left[:, 0], left[:, 1], inner, resampling)
    return replace(estimate, n_excluded=int(np.sum(~kept)))


def _standardized(table: FloatArray) -> FloatArray:
    centred = table - table.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    standardized: FloatArray = centred / np.where(spread > 0, spread, 1)
    return standardized


def _moments(table: FloatArray) -> FloatArray:
    """Products of (1, columns…) with themselves for every row: shape (n, d + 1, d + 1)."""
    rows = np.vstack([np.ones((1, table.shape[1])), table]).T
    products: FloatArray = rows[:, :, None] * rows[:, None, :]
    return products


def _partial(sums: FloatArray) -> FloatArray:
    """Partial correlation of columns 0 and 1 given the others, from summed moments.

    Args:
        sums: Shape (r, d + 1, d + 1), as :func:`_moments` makes them.

    Returns:
        Shape (r,); NaN where a column is constant or a linear function of the others.
    """
    count = sums[:, 0, 0]
    mean = sums[:, 0, 1:] / count[:, None]
    covariance = sums[:, 1:, 1:] / count[:, None, None] - mean[:, :, None] * mean[:, None, :]
    pair, control = covariance[:, :2, :2], covariance[:, 2:, 2:]
    before = np.einsum("rii->ri", pair).copy()
    if control.shape[1]:
        cross = covariance[:, :2, 2:]
        pair = pair - cross @ np.linalg.pinv(control, hermitian=True) @ cross.transpose(0, 2, 1)
    after = np.einsum("rii->ri", pair)
    # A residual this small is rounding error: the column is a function of the controls.
    known = (after > 1e-10 * before).all(axis=1) & (before > 1e-13).all(axis=1)
    scale = np.sqrt(np.where(known, after[:, 0] * after[:, 1], 1))
    return np.where(known, np.clip(pair[:, 0, 1] / scale, -1, 1), np.nan)
