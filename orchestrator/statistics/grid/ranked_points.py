"""The points that a granulated Kendall ranks, with the resamples behind its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.association.pairs import Pairs
from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.intervals.bootstrap import FEWEST_TRIALS, Groups, fisher
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, IntArray
from orchestrator.statistics.intervals.magnitude import usual
from orchestrator.statistics.intervals.resampling import Resampling, with_resamples


@dataclass(frozen=True)
class RankedPoints:
    """Values of every point: the given ones in row 0, then those of the resamples.

    If all rows would be equal, only one is stored.

    Attributes:
        codes: Shape (points, axes), as in :class:`Grid`.
        x: Shape (r, points).
        y: Shape (r, points).
        weights: Shape (r, points), the weight of a point within its group.
        shares: Shape (r, points), the weight of a point's group among the groups.
        resampled: The resampled units, as trials.
        unit: Name of these units: ``trial``, ``seed`` or ``condition``.
        level: Confidence level of intervals.
    """

    codes: IntArray
    x: FloatArray
    y: FloatArray
    weights: FloatArray
    shares: FloatArray
    resampled: Groups
    unit: str
    level: float

    @classmethod
    def conditions(cls, columns: FloatArray, grid: Grid, resampling: Resampling) -> RankedPoints:
        """Build one point per condition, the mean over its trials, which are resampled.

        Args:
            columns: Shape (2, n), finite, one row per trial.
            grid: The hyperparameters of each trial.
            resampling: Number of resamples, and their seed.
        """
        groups = Groups.of(range(grid.rows), grid.condition.tolist())
        trial_weights = _with_given(groups, resampling)
        member = np.eye(len(grid.conditions))[grid.condition]
        total = trial_weights @ member
        scale = np.where(total > 0, total, 1)
        # Ranks of means are the same in any unit.
        x, y = ((trial_weights * usual(column)) @ member / scale for column in columns)
        weights, shares = total / member.sum(axis=0), np.ones((1, member.shape[1]))
        return cls(grid.conditions, x, y, weights, shares, groups, "trial", resampling.level)

    @classmethod
    def trials(
        cls, columns: FloatArray, grid: Grid, seed: Sequence[object], resampling: Resampling
    ) -> RankedPoints:
        """Build one point per trial, with the seed as one more axis; seeds are resampled.

        Args:
            columns: Shape (2, n), finite, one row per trial.
            grid: The hyperparameters of each trial.
            seed: Shape (n,), the seed of each trial, any labels.
            resampling: Number of resamples, and their seed.
        """
        numbers = Grid.of({"seed": seed}).codes
        codes = np.hstack([grid.codes, numbers])
        return cls.blocks(columns, codes, numbers[:, 0], "seed", resampling)

    @classmethod
    def blocks(
        cls,
        columns: FloatArray,
        codes: IntArray,
        block: IntArray,
        unit: str,
        resampling: Resampling,
    ) -> RankedPoints:
        """Build one point per trial; whole blocks of points, each a union of groups, are resampled.

        Args:
            columns: Shape (2, n), finite.
            codes: Shape (n, axes).
            block: Shape (n,), from 0.
            unit: Name of a block.
            resampling: Number of resamples, and their seed.
        """
        labels = range(int(block.max(initial=-1)) + 1)
        groups = Groups.of(labels, [0] * len(labels))
        x, y = columns[:, None]
        shares = _with_given(groups, resampling)[:, block]
        return cls(codes, x, y, np.ones_like(x), shares, groups, unit, resampling.level)

    def mean(self, taus: FloatArray, pairs: Pairs) -> FloatArray:
        """Average τ over the groups where it is defined, for the values and every resample.

        Args:
            taus: Shape (r, groups), NaN where τ is undefined.
            pairs: The groups.
        """
        leaders = [int(block[0]) for block in pairs.members]
        shares = self.shares[:, leaders] * np.isfinite(taus)
        total = shares.sum(axis=1)
        mean = (shares * np.nan_to_num(taus)).sum(axis=1) / np.where(total > 0, total, 1)
        return np.where(total > 0, mean, np.nan)

    def estimate(self, values: FloatArray, n: int, excluded: int, pairs: int) -> Estimate:
        """Return the value with its interval, on Fisher's z scale.

        Args:
            values: Shape (1 + resamples,), the given value first.
            n: Number of points used.
            excluded: Number of rows left out.
            pairs: Number of pairs compared, which sets the resolution near ±1.
        """
        units = self.resampled.trials
        if not np.isfinite(values[0]):
            reason = "no points with a defined τ differ in only one respect"
            return Estimate(None, None, None, self.level, n, units, excluded, reason)
        bare = Estimate(float(values[0]), None, None, self.level, n, units, excluded)
        if units < FEWEST_TRIALS:
            reason = f"no interval from {units} {self.unit}{'s' * (units != 1)}"
            return Estimate(bare.value, None, None, self.level, n, units, excluded, reason)
        freedom = self.resampled.degrees_of_freedom
        return with_resamples(bare, values[1:], freedom, fisher(1 / pairs))


def _with_given(groups: Groups, resampling: Resampling) -> FloatArray:
    weights = groups.weights(resampling.resamples, resampling.seed)
    return np.vstack([np.ones((1, groups.trials)), weights])
