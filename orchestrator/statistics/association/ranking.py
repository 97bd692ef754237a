"""Rank correlation of two measures: Spearman's ρ, Kendall's τ_a and τ_b."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.association.concordance import MOST_DENSE, Compared
from orchestrator.statistics.association.pairs import Variant
from orchestrator.statistics.intervals.bootstrap import Groups, as_floats
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, IntArray
from orchestrator.statistics.intervals.resampling import (
    DEFAULT,
    Resampled,
    Resampling,
    correlation_estimate,
    z_error,
)


def spearman(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    groups: Groups | None = None,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Estimate Spearman's ρ: Pearson's r of mid-ranks. See :func:`pearson` for the arguments.

    Without groups, the standard error on the z scale is that of Bonett and Wright 2000
    (Psychometrika 65, 23–28). With more than ``MOST_DENSE`` trials, ρ of a resample is linearized
    in the change of weights, as in :mod:`.concordance`.
    """

    def statistic(table: FloatArray, inner: Groups) -> tuple[float, Resampled]:
        if inner.trials > MOST_DENSE:
            return linear_spearman(table, inner)
        ones = np.ones((1, table.shape[1]))
        value = float(_weighted_spearman(table, ones)[0])

        def resampled(weights: FloatArray) -> FloatArray:
            return _weighted_spearman(table, weights[:, inner.trial])

        return value, resampled

    columns = np.vstack([as_floats(x)[None], as_floats(y)[None]])
    return correlation_estimate(
        columns,
        groups,
        resampling,
        statistic,
        lambda r, n: math.sqrt(1 + r * r / 2) * z_error(n - 3),
        finest=lambda n: 6 / (n * (n * n - 1)),
    )


def kendall(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    groups: Groups | None = None,
    resampling: Resampling = DEFAULT,
    variant: Variant = "b",
) -> Estimate:
    """Estimate Kendall's τ. See :func:`pearson` for the arguments.

    With s = sign(x_i − x_j) · sign(y_i − y_j) over the n(n − 1)/2 pairs of rows,

    - τ_a = Σ s / (n(n − 1)/2), in which a tie in either column counts 0. It is the τ of Jiang et
      al. (arXiv:1912.02178, equation 3). With ties it cannot reach ±1.
    - τ_b = Σ s / √(pairs untied in x · pairs untied in y), which corrects for ties.

    The two are equal without ties; errors on a small test set often tie. All pairs of rows are
    compared, so the time grows with n². Without groups, the standard error on the z scale is that
    of Fieller, Hartley and Pearson 1957 (Biometrika 44, 470–481), derived for untied rows.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        groups: The trial and condition of each row; None if rows are independent.
        resampling: Resampling settings of the interval.
        variant: ``a`` or ``b``.
    """
    columns = np.vstack([as_floats(x)[None], as_floats(y)[None]])
    return correlation_estimate(
        columns,
        groups,
        resampling,
        lambda table, inner: Compared.of(table, inner, variant=variant).with_value(),
        lambda r, n: math.sqrt(0.437) * z_error(n - 4),
        finest=lambda n: 2 / (n * (n - 1)),
    )


def _weighted_spearman(table: FloatArray, weights: FloatArray) -> FloatArray:
    """Return ρ for each row of ``weights``, shape (r, n)."""
    ranks = [weighted_ranks(column, weights) for column in table]
    count = weights.sum(axis=1, keepdims=True)
    centred = [rank - (weights * rank).sum(axis=1, keepdims=True) / count for rank in ranks]
    variances = [(weights * part**2).sum(axis=1) for part in centred]
    product = (weights * centred[0] * centred[1]).sum(axis=1)
    return _divide(product, np.sqrt(variances[0] * variances[1]))


def linear_spearman(table: FloatArray, groups: Groups) -> tuple[float, Resampled]:
    """Return ρ, and a function that recomputes it to first order in the change of weights.

    With centred mid-ranks x and y, C_xy = Σ x_i y_i changes by

        x_j y_j + Σ_i h(x_i − x_j) y_i + Σ_i h(y_i − y_j) x_i

    per weight of row j, since its weight also raises the ranks above it: h is 1 above, ½ in a tie
    and 0 below. The same holds for C_xx and C_yy, and ρ = C_xy / √(C_xx C_yy).

    Args:
        table: Shape (2, n), finite.
        groups: The trial and condition of each row; the function takes rows of trial weights.
    """
    codes = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in table]
    ones = np.ones((1, table.shape[1]))
    ranks = [weighted_ranks(column, ones)[0] for column in table]
    x, y = (rank - rank.mean() for rank in ranks)

    def above(code: IntArray, values: FloatArray) -> FloatArray:
        """Sum the values of all rows above each row, and half of those tied with it."""
        of_code = np.bincount(code, values)
        sums: FloatArray = (of_code.sum() - np.cumsum(of_code) + of_code / 2)[code]
        return sums

    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if min(xx, yy) <= 0:
        return np.nan, lambda weights: np.full(len(weights), np.nan)
    rho = float(np.clip(xy / np.sqrt(xx * yy), -1, 1))
    by_row = (x * y + above(codes[0], y) + above(codes[1], x)) / np.sqrt(xx * yy)
    by_row -= rho * (x * x / 2 + above(codes[0], x)) / xx
    by_row -= rho * (y * y / 2 + above(codes[1], y)) / yy
    slope = groups.sums(by_row)
    return rho, lambda weights: np.clip(rho + (weights - 1) @ slope, -1, 1)


def weighted_ranks(column: FloatArray, weights: FloatArray) -> FloatArray:
    """Return mid-ranks, up to a constant, with row i counted ``weights[:, i]`` times: (r, n)."""
    _, place = np.unique(column, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: FloatArray = (np.cumsum(tied, axis=1) - tied / 2)[:, place]
    return ranks


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    known = denominator > 0
    ratio = numerator / np.where(known, denominator, 1)
    return np.where(known, np.clip(ratio, -1, 1), np.nan)
