"""Kendall's τ as a function of trial weights.

τ = Σ s / √(Σ u · Σ v) over pairs of rows, where s is 1 if x and y order the pair alike, −1 if
oppositely, and 0 in a tie. In the variant τ_a, u and v are 1; in τ_b they are 0 for pairs tied in x
and in y. Weights w of trials turn each sum into a quadratic form wᵀMw.

Up to ``MOST_DENSE`` trials, the matrices M are stored. For more they would take gigabytes, but the
sums M1 of their rows are found by sorting, in time n log² n, and with d = w − 1

    wᵀMw = 1ᵀM1 + 2dᵀM1 + dᵀMd,

where the last term needs only the trials whose d is not 0. This is exact, and used where at most
half of the trials have such a d, as when some are left out. Few rows are compared directly.
Resamples change most weights; for these, τ is linearized in d, which changes their spread by up to
2 %, about as much as a thousand resamples leave open
(``tests/statistics/association/test_concordance.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.association.pairs import Pairs, Variant
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray

MOST_DENSE = 1000
_ROWS_AT_ONCE = 512
FEW_ROWS = 256
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Compared:
    """Two columns, and the pairs of rows that τ compares.

    Attributes:
        x: Shape (n,), finite.
        y: Shape (n,), finite.
        groups: The trial and condition of each row.
        stratum: Shape (n,), from 0; only rows of one stratum are compared.
        share: Shape (trials,), the weight of each row of a trial.
        across: Whether only rows of different conditions are compared.
        variant: The variant of τ.
    """

    x: FloatArray
    y: FloatArray
    groups: Groups
    stratum: IntArray
    share: FloatArray
    across: bool = False
    variant: Variant = "b"

    @classmethod
    def of(
        cls,
        columns: FloatArray,
        groups: Groups,
        *,
        stratum: IntArray | None = None,
        share: FloatArray | None = None,
        across: bool = False,
        variant: Variant = "b",
    ) -> Compared:
        """Compare two columns, of shape (2, n): all rows alike, unless told otherwise."""
        x, y = columns
        stratum = np.zeros(len(x), dtype=np.int64) if stratum is None else stratum
        share = np.ones(groups.trials) if share is None else share
        return cls(x, y, groups, stratum, share, across, variant)

    def tau(self, most_dense: int = MOST_DENSE) -> Callable[[FloatArray], FloatArray]:
        """Return a function from trial weights (r, trials) to τ (r,), NaN if no pair counts.

        A trial drawn twice does not tie with its own copy: such pairs do not count.

        Args:
            most_dense: Largest number of trials for which matrices are stored.
        """
        return self._from_matrices() if self.groups.trials <= most_dense else _Sorted(self).tau

    def with_value(self) -> tuple[float, Callable[[FloatArray], FloatArray]]:
        """Return τ of all rows, and the function of :meth:`tau`."""
        tau = self.tau()
        return float(tau(np.ones((1, self.groups.trials)))[0]), tau

    def _from_matrices(self) -> Callable[[FloatArray], FloatArray]:
        trials, condition = self.groups.trials, self.groups.condition
        sums = np.zeros((3, trials, trials))
        for rows in self.strata():
            trial = self.groups.trial[rows]
            inner = Groups(trial, condition)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                some = rows[start : start + _ROWS_AT_ONCE]
                of_some = Groups(self.groups.trial[some], condition)
                signs = self.signs(some[:, None], rows)
                sums += [of_some.sums(inner.sums(one.T).T) for one in signs]
        counted = np.outer(self.share, self.share)
        if self.across:
            counted *= condition[:, None] != condition
        matrices = sums * counted

        def tau(weights: FloatArray) -> FloatArray:
            return _ratio(np.stack([np.einsum("rt,rt->r", weights @ m, weights) for m in matrices]))

        return tau

    def strata(self) -> list[IntArray]:
        """Return the rows of each stratum."""
        return [
            np.flatnonzero(self.stratum == one)
            for one in range(int(self.stratum.max(initial=-1)) + 1)
        ]

    def signs(self, row: IntArray, other: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return s, u and v of pairs of rows."""
        sign_x = np.sign(self.x[row] - self.x[other])
        sign_y = np.sign(self.y[row] - self.y[other])
        if self.variant == "a":
            pair = np.asarray(row != other, dtype=np.float64)
            return sign_x * sign_y, pair, pair
        return sign_x * sign_y, np.abs(sign_x), np.abs(sign_y)


class _Sorted:
    """τ of many trials, from sums over the pairs of each row.

    Args:
        pairs: The rows to compare.
    """

    def __init__(self, pairs: Compared) -> None:
        self._pairs = pairs
        self._share = pairs.share[pairs.groups.trial]
        every = np.arange(len(pairs.x))
        by_row = self._share * self._sums(every, self._share)
        self._by_trial = pairs.groups.sums(by_row.T).T
        self._total = self._by_trial.sum(axis=1)
        # Sums that should cancel leave rounding.
        self._least = _ROUNDING * float(self._share.sum()) ** 2

    def tau(self, weights: FloatArray) -> FloatArray:
        """Return τ for each row of trial weights."""
        change = weights - 1
        changed = change != 0
        few = 2 * changed.sum(axis=1) <= weights.shape[1]
        found = np.empty(len(weights))
        found[~few] = self._linear(change[~few])
        change, changed = change[few], changed[few]
        sums = self._total[:, None] + 2 * self._by_trial @ change.T
        condition = self._pairs.groups.condition
        first = condition[np.argmax(changed, axis=1)]
        # Across conditions, no pair of rows of one condition counts.
        several = (changed & (condition != first[:, None])).any(axis=1)
        for row in np.flatnonzero(several | (not self._pairs.across)):
            sums[:, row] += self._second_order(change[row])
        found[few] = _ratio(sums, self._least)
        return found

    def _second_order(self, change: FloatArray) -> FloatArray:
        """Return the weighted sums over the pairs of rows whose weights change: shape (3,)."""
        of_rows = change[self._pairs.groups.trial]
        rows = np.flatnonzero(of_rows)
        weight = (self._share * of_rows)[rows]
        if len(rows) <= FEW_ROWS:
            return self._pairwise(rows, weight)
        sums: FloatArray = self._sums(rows, weight) @ weight
        return sums

    def _pairwise(self, rows: IntArray, weight: FloatArray) -> FloatArray:
        """Return the weighted sums of s, u and v over all pairs of few rows: shape (3,)."""
        pairs = self._pairs
        stratum, condition = pairs.stratum[rows], pairs.groups.condition[pairs.groups.trial[rows]]
        counted = np.outer(weight, weight) * (stratum[:, None] == stratum)
        if pairs.across:
            counted *= condition[:, None] != condition
        return np.array([np.vdot(counted, signs) for signs in pairs.signs(rows[:, None], rows)])

    def _linear(self, change: FloatArray) -> FloatArray:
        """Return τ to first order in the change of weights."""
        _, pairs_x, pairs_y = self._total
        if min(pairs_x, pairs_y) <= self._least:
            return np.full(len(change), np.nan)
        tau = float(_ratio(self._total[:, None])[0])
        agreement, untied_x, untied_y = self._by_trial
        slope = 2 * agreement / np.sqrt(pairs_x * pairs_y)
        slope -= tau * (untied_x / pairs_x + untied_y / pairs_y)
        linear: FloatArray = np.clip(tau + change @ slope, -1, 1)
        return linear

    def _sums(self, rows: IntArray, weight: FloatArray) -> FloatArray:
        """Sum the weighted s, u and v of each of some rows with the others: shape (3, rows)."""
        pairs = self._pairs
        stratum = pairs.stratum[rows]
        found = np.zeros((3, len(rows)))
        for one in np.unique(stratum):
            inside = np.flatnonzero(stratum == one)
            x, y, of_stratum = pairs.x[rows[inside]], pairs.y[rows[inside]], weight[inside]
            every = of_stratum.sum()
            found[0, inside] = _agreement(x, y, of_stratum)
            for place, column in ((1, x), (2, y)):
                tied = of_stratum if pairs.variant == "a" else _tied(column, of_stratum)
                found[place, inside] = every - tied
        if pairs.across:
            groups = pairs.groups
            condition = groups.condition[groups.trial[rows]]
            own = Pairs.within(stratum * len(groups.condition) + condition)
            for one, two in ((own.first, own.second), (own.second, own.first)):
                for place, signs in enumerate(pairs.signs(rows[one], rows[two])):
                    found[place] -= np.bincount(one, weight[two] * signs, minlength=len(rows))
        return found


def _agreement(x: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    """Return Σ_j weight_j sign(x_i − x_j) sign(y_i − y_j) of each row i."""
    alike = _below(x, y, weight) + _below(-x, -y, weight)
    return alike - _below(x, -y, weight) - _below(-x, y, weight)


def _below(x: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weight of all rows that are smaller in both columns than each row: shape (n,).

    A merge sort by y of the rows in order of x: whenever a left half is merged with a right one,
    each row of the right half gets the weight of the smaller rows of the left half.
    """
    # Among equal x, rows with smaller y come later, so none counts as below another.
    order = np.lexsort((-y, x))
    _, rank = np.unique(y[order], return_inverse=True)
    weight, total = weight[order], np.zeros(len(x))
    place = np.arange(len(x))
    for level in range((len(x) - 1).bit_length()):
        # Among equal y, rows of the right half come first, so that only smaller ones count.
        left = 1 - (place >> level & 1)
        block = place >> level + 1
        place = place[np.argsort((block * len(x) + rank[place]) * 2 + left, kind="stable")]
        left, block = 1 - (place >> level & 1), place >> level + 1
        sums = np.concatenate([[0.0], np.cumsum(weight[place] * left)])
        right = left == 0
        total[place[right]] += (sums[1:] - sums[block << level + 1])[right]
    below = np.empty(len(x))
    below[order] = total
    return below


def _tied(column: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weight of all rows that equal each row, itself included."""
    _, value = np.unique(column, return_inverse=True)
    return np.bincount(value, weight).astype(np.float64)[value]


def _ratio(sums: FloatArray, least: float = 0.0) -> FloatArray:
    """Return τ from sums of s, u and v, of shape (3, r); NaN unless u and v exceed ``least``."""
    known = sums[1:].min(axis=0) > least
    ratio = sums[0] / np.sqrt(np.where(known, sums[1] * sums[2], 1))
    return np.where(known, np.clip(ratio, -1, 1), np.nan)
