"""Pairs of conditions that differ in exactly one hyperparameter, and their trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.association.pairs import Pairs
from orchestrator.statistics.grid.hyperparameter_grid import Grid, lines
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray

_CELLS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Environments:
    """All environments of a grid, and every pair of a trial from each condition.

    Attributes:
        axis: Shape (environments,), the index of the axis that differs.
        first: Shape (environments,), one condition.
        second: Shape (environments,), the other condition.
        trial: Shape (pairs,), a trial of the first condition.
        other: Shape (pairs,), a trial of the second condition.
        starts: Shape (environments,), index of the first pair of each environment.
        sizes: Shape (environments, 2), the number of trials of either condition.
    """

    axis: IntArray
    first: IntArray
    second: IntArray
    trial: IntArray
    other: IntArray
    starts: IntArray
    sizes: IntArray

    @classmethod
    def of(cls, grid: Grid) -> Environments:
        """Find the environments of a grid with one row per trial."""
        found = [Pairs.within(lines(grid.conditions, axis)) for axis in grid.varying]
        nothing = [np.zeros(0, dtype=np.int64)]
        first = np.concatenate([pairs.first for pairs in found] or nothing)
        second = np.concatenate([pairs.second for pairs in found] or nothing)
        axis = np.repeat(np.array(grid.varying, dtype=np.int64), [len(p.first) for p in found])
        condition = grid.condition
        trials = [np.flatnonzero(condition == one) for one in range(len(grid.conditions))]
        sizes = np.array([len(one) for one in trials], dtype=np.int64)
        counts = sizes[first] * sizes[second]
        couples = list(zip(first.tolist(), second.tolist(), strict=True))
        trial = [np.repeat(trials[one], sizes[two]) for one, two in couples]
        other = [np.tile(trials[two], sizes[one]) for one, two in couples]
        return cls(
            axis,
            first,
            second,
            np.concatenate(trial or nothing),
            np.concatenate(other or nothing),
            (np.cumsum(counts) - counts).astype(np.int64),
            np.stack([sizes[first], sizes[second]], axis=1),
        )

    def __len__(self) -> int:
        """Return the number of environments."""
        return len(self.axis)

    def sums(self, of_pairs: FloatArray) -> FloatArray:
        """Sum values of shape (…, pairs) over the pairs of each environment."""
        if not len(self):
            return np.zeros((*of_pairs.shape[:-1], 0))
        total: FloatArray = np.add.reduceat(of_pairs, self.starts, axis=-1)
        return total

    def weighted_sums(
        self, of_pairs: Sequence[FloatArray], places: IntArray, weights: FloatArray
    ) -> FloatArray:
        """Sum values over the pairs of some environments, for each row of trial weights.

        The weight of a pair is the product of those of its trials. The pairs of an environment are
        a matrix M of values, so its sums are the rows of (W M) ∘ V, with W and V the weights of the
        trials of either condition.

        Args:
            of_pairs: Values of shape (pairs,), each to be summed.
            places: Shape (m,), the environments.
            weights: Shape (r, trials).

        Returns:
            Shape (values, r, m).
        """
        total = np.empty((len(of_pairs), len(weights), len(places)))
        for one, two in np.unique(self.sizes[places], axis=0).tolist():
            alike = np.flatnonzero((self.sizes[places] == (one, two)).all(axis=1))
            step = max(1, _CELLS_AT_ONCE // max(1, len(weights) * max(one, two)))
            for start in range(0, len(alike), step):
                some = alike[start : start + step]
                pairs = self.starts[places[some], None] + np.arange(one * two)
                first = weights.T[self.trial[pairs[:, ::two]]].swapaxes(1, 2)
                second = weights.T[self.other[pairs[:, :two]]].swapaxes(1, 2)
                for sums, values in zip(total, of_pairs, strict=True):
                    matrices = values[pairs].reshape(-1, one, two)
                    sums[:, some] = np.einsum("erk,erk->re", first @ matrices, second)
        return total
