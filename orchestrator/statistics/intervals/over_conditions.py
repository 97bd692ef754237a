"""Statistics of networks in conditions, as functions of trial weights.

All conditions count alike, as do the trials within a condition and the rows within a trial, so
that one condition of twenty networks does not outweigh others of three. Each function here returns
a ``Statistic``, which maps weights of shape (r, trials) to values of shape (r,), NaN if undefined.
All weights are 1 for the complete study, and 0 for trials left out.

The argument ``stratum`` numbers the stage of training, or the architecture, of each row. If given,
only rows of the same stratum are compared.
"""

from __future__ import annotations

import numpy as np

from orchestrator.statistics.association.concordance import Compared
from orchestrator.statistics.association.moments import (
    covariance,
    partial_correlation_of,
    row_moments,
    standardized,
)
from orchestrator.statistics.association.ranking import weighted_ranks
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray
from orchestrator.statistics.intervals.jackknife import Statistic


def trial_shares(groups: Groups) -> FloatArray:
    """Return one over the number of trials in each trial's condition: shape (trials,)."""
    shares: FloatArray = 1 / np.bincount(groups.condition)[groups.condition]
    return shares


def row_shares(groups: Groups) -> FloatArray:
    """Return the share of each row in its condition: shape (n,)."""
    shares: FloatArray = (trial_shares(groups) / np.bincount(groups.trial))[groups.trial]
    return shares


def correlation(columns: FloatArray, groups: Groups, stratum: IntArray | None = None) -> Statistic:
    """Return Pearson's r of columns 0 and 1 with the others held fixed.

    Args:
        columns: Shape (d, n), finite.
        groups: The trial and condition of each row.
        stratum: Shape (n,), from 0; the mean of each stratum is removed from every column.
    """
    rows = row_moments(standardized(columns)) * row_shares(groups)[:, None, None]
    strata = [np.ones(columns.shape[1], dtype=np.bool_)]
    if stratum is not None:
        strata = [stratum == one for one in range(int(stratum.max(initial=-1)) + 1)]
    sums = [groups.sums(np.where(inside[:, None, None], rows, 0)) for inside in strata]

    def values(weights: FloatArray) -> FloatArray:
        totals = [np.tensordot(weights, one, axes=1) for one in sums]
        whole: FloatArray = np.sum([total[:, 0, 0] for total in totals], axis=0)
        products = np.zeros((len(weights), totals[0].shape[1] - 1, totals[0].shape[1] - 1))
        for total in totals:
            count = total[:, 0, 0]
            there = count > 1e-12 * whole
            safe = np.where(there[:, None, None], total, np.eye(total.shape[1]))
            products += np.where(there, count / whole, 0)[:, None, None] * covariance(safe)
        variances = np.einsum("rii->ri", covariance(np.sum(totals, axis=0)))[:, :2]
        return partial_correlation_of(products, variances)

    return values


def correlation_within(columns: FloatArray, groups: Groups) -> Statistic:
    """Return Pearson's r within conditions, from trial means minus their condition's mean.

    Snapshots of a trial share its training, so seeds act on trial means; averaging also removes a
    common trend along training. Conditions of one trial carry no information and do not count.

    Args:
        columns: Shape (d, n), finite; columns from index 2 on are held fixed.
        groups: The trial and condition of each row. Weights must agree within conditions.
    """
    means = groups.sums(standardized(columns).T) / np.bincount(groups.trial)[:, None]
    number = np.bincount(groups.condition)
    size = np.maximum(number, 1)
    of_trials = Groups(groups.condition, np.arange(len(number)))
    left = means - (of_trials.sums(means) / size[:, None])[groups.condition]
    products = of_trials.sums(left[:, :, None] * left[:, None, :])
    degrees = np.maximum(number - 1, 0)

    def values(weights: FloatArray) -> FloatArray:
        kept = of_trials.sums(weights.T).T / size
        total = np.maximum(kept @ degrees, 1)
        sums = np.tensordot(kept, products, axes=1) / total[:, None, None]
        return partial_correlation_of(sums)

    return values


def rank_correlation(
    columns: FloatArray, groups: Groups, stratum: IntArray | None = None
) -> Statistic:
    """Return Spearman's ρ: Pearson's r of mid-ranks, recomputed for each row of weights.

    Args:
        columns: Shape (2, n), finite.
        groups: The trial and condition of each row.
        stratum: Shape (n,), from 0; ranks are shares of the weight of their stratum.
    """
    shares = row_shares(groups)
    inside = np.zeros(columns.shape[1], dtype=np.int64) if stratum is None else stratum
    strata = [np.flatnonzero(inside == one) for one in range(int(inside.max(initial=-1)) + 1)]

    def values(weights: FloatArray) -> FloatArray:
        of_rows = weights[:, groups.trial] * shares
        sums = np.zeros((3, len(weights)))
        for rows in strata:
            weight = of_rows[:, rows]
            count = weight.sum(axis=1, keepdims=True)
            safe = np.where(count > 0, count, 1)
            ranks = [weighted_ranks(column[rows], weight) / safe for column in columns]
            x, y = (rank - (weight * rank).sum(axis=1, keepdims=True) / safe for rank in ranks)
            sums += [(weight * a * b).sum(axis=1) for a, b in ((x, y), (x, x), (y, y))]
        known = (sums[1] > 1e-12) & (sums[2] > 1e-12)
        scale = np.sqrt(np.where(known, sums[1] * sums[2], 1))
        return np.where(known, np.clip(sums[0] / scale, -1, 1), np.nan)

    return values


def tau(x: FloatArray, y: FloatArray, groups: Groups, stratum: IntArray | None = None) -> Statistic:
    """Return Kendall's τ_b over pairs of networks from different conditions.

    Pairs within a condition differ by their seeds. They answer another question, and with few
    conditions they are a large fraction of all pairs.

    Args:
        x: Shape (n,), finite.
        y: Shape (n,), finite.
        groups: The trial and condition of each row.
        stratum: Shape (n,), from 0; only pairs of one stratum count.
    """
    share = trial_shares(groups) / np.maximum(np.bincount(groups.trial), 1)
    columns = np.stack([x, y])
    return Compared.of(columns, groups, stratum=stratum, share=share, across=True).tau()


def mean_over(values: FloatArray, groups: Groups) -> Statistic:
    """Return the mean over conditions of the mean over trials of the mean over rows.

    Args:
        values: Shape (n,), finite.
        groups: The trial and condition of each row.
    """
    middle = float(values.mean()) if len(values) else 0.0
    share = trial_shares(groups)
    # Differences from the overall mean keep all digits of large values.
    sums = groups.sums((values - middle) * row_shares(groups))

    def found(weights: FloatArray) -> FloatArray:
        count = weights @ share
        known = count > 0
        return np.where(known, middle + weights @ sums / np.where(known, count, 1), np.nan)

    return found
