"""Rank correlation of two measures: Spearman's ρ, Kendall's τ_a and τ_b."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.intervals.bootstrap import Groups, as_floats
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray
from orchestrator.statistics.intervals.resampling import (
    DEFAULT,
    Resampled,
    Resampling,
    correlation_estimate,
    z_error,
)

Variant = Literal["a", "b"]

_ROWS_AT_ONCE = 512


def spearman(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    groups: Groups | None = None,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Estimate Spearman's ρ: Pearson's r of mid-ranks. See :func:`pearson` for the arguments.

    Without groups, the standard error on the z scale is that of Bonett and Wright 2000
    (Psychometrika 65, 23–28).
    """

    def statistic(table: FloatArray, inner: Groups) -> tuple[float, Resampled]:
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
        lambda table, inner: kendall_of_weights(table, inner, variant),
        lambda r, n: math.sqrt(0.437) * z_error(n - 4),
        finest=lambda n: 2 / (n * (n - 1)),
    )


def kendall_of_weights(
    table: FloatArray, groups: Groups, variant: Variant
) -> tuple[float, Resampled]:
    """Return τ of two finite columns, and a function that recomputes it from trial weights.

    A trial drawn twice does not tie with its own copy: such pairs count in neither variant.

    Args:
        table: Shape (2, n), finite.
        groups: The trial and condition of each row.
        variant: ``a`` or ``b``.
    """
    agreement, differ_x, differ_y = agreements(table, groups)
    if variant == "a":
        rows = groups.sums(np.ones(table.shape[1]))
        differ_x = differ_y = np.outer(rows, rows) - np.diag(rows)

    def resampled(weights: FloatArray) -> FloatArray:
        return kendall_of_pairs(agreement, differ_x, differ_y, weights)

    return float(resampled(np.ones((1, groups.trials)))[0]), resampled


def kendall_of_pairs(
    agreement: FloatArray, differ_x: FloatArray, differ_y: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return τ for each row of trial weights, from sums over pairs of rows.

    Args:
        agreement: Shape (trials, trials), Σ sign · sign.
        differ_x: Shape (trials, trials), number of pairs that count in x.
        differ_y: Shape (trials, trials), number of pairs that count in y.
        weights: Shape (r, trials).

    Returns:
        Shape (r,); NaN if no pair counts.
    """

    def paired(matrix: FloatArray) -> FloatArray:
        total: FloatArray = np.einsum("rt,rt->r", weights @ matrix, weights)
        return total

    return _divide(paired(agreement), np.sqrt(paired(differ_x) * paired(differ_y)))


def _weighted_spearman(table: FloatArray, weights: FloatArray) -> FloatArray:
    """Return ρ for each row of ``weights``, shape (r, n)."""
    ranks = [weighted_ranks(column, weights) for column in table]
    count = weights.sum(axis=1, keepdims=True)
    centred = [rank - (weights * rank).sum(axis=1, keepdims=True) / count for rank in ranks]
    variances = [(weights * part**2).sum(axis=1) for part in centred]
    product = (weights * centred[0] * centred[1]).sum(axis=1)
    return _divide(product, np.sqrt(variances[0] * variances[1]))


def weighted_ranks(column: FloatArray, weights: FloatArray) -> FloatArray:
    """Return mid-ranks, up to a constant, with row i counted ``weights[:, i]`` times: (r, n)."""
    _, place = np.unique(column, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: FloatArray = (np.cumsum(tied, axis=1) - tied / 2)[:, place]
    return ranks


def agreements(table: FloatArray, groups: Groups) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sum signed agreements and pairs untied in x and in y over rows: 3 × (trials, trials)."""
    x, y = table
    totals = [np.zeros((groups.trials, groups.trials)) for _ in range(3)]
    for start in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        sign_x, sign_y = np.sign(x[rows, None] - x), np.sign(y[rows, None] - y)
        for total, part in zip(
            totals, (sign_x * sign_y, np.abs(sign_x), np.abs(sign_y)), strict=True
        ):
            by_trial = groups.sums(part.T).T
            np.add.at(total, groups.trial[rows], by_trial)
    return totals[0], totals[1], totals[2]


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    known = denominator > 0
    ratio = numerator / np.where(known, denominator, 1)
    return np.where(known, np.clip(ratio, -1, 1), np.nan)
