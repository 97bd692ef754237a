"""Sums of products of columns, and correlations computed from them."""

from __future__ import annotations

import numpy as np

from orchestrator.statistics.intervals.estimate import FloatArray
from orchestrator.statistics.intervals.magnitude import usual


def standardized(table: FloatArray) -> FloatArray:
    """Scale columns (d, n) to mean 0 and standard deviation 1; constant columns become 0."""
    if not table.shape[1]:
        return table
    table = np.array([usual(column) for column in table])
    centred = table - table.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    found: FloatArray = centred / np.where(spread > 0, spread, 1)
    return found


def row_moments(table: FloatArray) -> FloatArray:
    """Return the outer product of (1, columns…) for every row: shape (n, d + 1, d + 1)."""
    rows = np.vstack([np.ones((1, table.shape[1])), table]).T
    products: FloatArray = rows[:, :, None] * rows[:, None, :]
    return products


def covariance(sums: FloatArray) -> FloatArray:
    """Return the columns' covariance from summed :func:`row_moments` (…, d + 1, d + 1)."""
    count = sums[..., 0, 0][..., None, None]
    mean = sums[..., 0, 1:] / count[..., 0]
    found: FloatArray = sums[..., 1:, 1:] / count - mean[..., :, None] * mean[..., None, :]
    return found


def partial_correlation_of(covariances: FloatArray, before: FloatArray | None = None) -> FloatArray:
    """Return the partial correlation of columns 0 and 1 given the others.

    Args:
        covariances: Shape (r, d, d), for columns with variances of about 1, at least before
            other quantities were held fixed.
        before: Shape (r, 2), variances of the two columns before that.

    Returns:
        Shape (r,); NaN if a column is constant or a linear function of the others.
    """
    pair, control = covariances[:, :2, :2], covariances[:, 2:, 2:]
    variances = np.einsum("rii->ri", pair).copy() if before is None else before
    if control.shape[1]:
        cross = covariances[:, :2, 2:]
        pair = pair - cross @ np.linalg.pinv(control, hermitian=True) @ cross.transpose(0, 2, 1)
    after = np.einsum("rii->ri", pair)
    # A residual this small is rounding error: the column is a function of the controls.
    known = (after > 1e-10 * variances).all(axis=1) & (variances > 1e-13).all(axis=1)
    scale = np.sqrt(np.where(known, after[:, 0] * after[:, 1], 1))
    return np.where(known, np.clip(pair[:, 0, 1] / scale, -1, 1), np.nan)
