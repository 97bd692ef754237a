"""Î(S) of Jiang et al., counted over pairs of conditions. See :mod:`.mutual_information`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray

LARGEST_SET = 2


class JiangInformation:
    """Normalized conditional mutual information for every S of at most two hyperparameters.

    Args:
        target: Shape (n,), one value per condition.
        grid: The hyperparameters of each condition; no two conditions are equal.
    """

    def __init__(self, target: FloatArray, grid: Grid) -> None:
        self._first, self._second = np.nonzero(target[:, None] != target)
        self._target = (target[self._first] > target[self._second]).astype(np.int64)
        self._codes = grid.codes
        self._places = [
            places
            for size in range(LARGEST_SET + 1)
            for places in itertools.combinations(grid.varying, size)
        ]
        self.sets = [tuple(grid.axes[place] for place in places) for places in self._places]

    def values(self, measures: FloatArray) -> FloatArray:
        """Compute Î of every set for each row of ``measures``, of shape (r, n).

        Returns:
            Shape (r, sets); NaN if V_g is certain in every cell, or all pairs are tied.
        """
        step = measures[:, self._first] - measures[:, self._second]
        # Ties count nowhere; 2 marks them.
        order = np.where(step == 0, 2, step > 0)
        return np.stack([self._of_set(places, order) for places in self._places], axis=1)

    def compared(self, measure: FloatArray) -> int:
        """Count the ordered pairs that are tied neither in the target nor in ``measure``."""
        return int(np.sum(measure[self._first] != measure[self._second]))

    @staticmethod
    def smallest(values: FloatArray) -> float:
        """Return K, the smallest defined Î; NaN if none is defined."""
        return float(np.nanmin(values)) if np.isfinite(values).any() else float("nan")

    def _of_set(self, places: Sequence[int], order: IntArray) -> FloatArray:
        cell = self._cells(places)
        number = int(cell.max(initial=-1)) + 1
        bins = 6 * cell + 3 * self._target + order + 6 * number * np.arange(len(order))[:, None]
        counts = np.bincount(bins.ravel(), minlength=6 * number * len(order))
        untied = counts.reshape(len(order), number, 2, 3)[..., :2]
        return _normalised(untied.astype(np.float64))

    def _cells(self, places: Sequence[int]) -> IntArray:
        """Number each pair by the levels that the hyperparameters have in both networks."""
        codes = self._codes[:, list(places)]
        both = np.hstack([codes[self._first], codes[self._second]])
        _, cell = np.unique(both, axis=0, return_inverse=True)
        return cell.astype(np.int64).reshape(-1)


def _normalised(counts: FloatArray) -> FloatArray:
    """Compute I(V_μ; V_g | U) / H(V_g | U) from pair counts of shape (r, cells, V_g, V_μ): (r,)."""
    target, measure = counts.sum(axis=3, keepdims=True), counts.sum(axis=2, keepdims=True)
    cell = counts.sum(axis=(2, 3), keepdims=True)
    entropy = -_logarithms(target, target, cell)
    # A certain order gives exactly 0, since its logarithms are those of 1.
    known = entropy > 0
    information = _logarithms(counts, counts * cell, target * measure)
    return np.where(known, information / np.where(known, entropy, 1), np.nan)


def _logarithms(factor: FloatArray, numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Sum ``factor`` · log₂(``numerator`` / ``denominator``), with 0 where the factor is 0."""
    ratio = np.divide(numerator, denominator, out=np.ones_like(numerator), where=factor > 0)
    sums: FloatArray = np.sum(factor * np.log2(ratio), axis=(1, 2, 3))
    return sums
