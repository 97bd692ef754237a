"""The median of a quantity: over rows with an interval over trials, and over condition medians.

The jackknife fails for medians. The median of condition medians has the exact interval of order
statistics, which only assumes that conditions are independent draws; for a grid it covers this
grid alone. With fewer than six conditions, the bootstrap over trials is used instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from orchestrator.statistics.intervals.bootstrap import (
    LEVEL,
    LINEAR,
    Groups,
    Scale,
    as_floats,
    student_interval,
    why_no_interval,
)
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, IntArray, all_finite
from orchestrator.statistics.intervals.inference import Inference
from orchestrator.statistics.intervals.jackknife import Spread
from orchestrator.statistics.intervals.magnitude import back, power_of_two
from orchestrator.statistics.intervals.over_conditions import row_shares
from orchestrator.statistics.intervals.resampling import DEFAULT, Resampling
from orchestrator.statistics.study_design import FEWEST_CONDITIONS, Design

_RESAMPLED_CELLS = 4_000_000


def median(
    values: npt.ArrayLike,
    groups: Groups,
    scale: Scale = LINEAR,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """Estimate the median over rows; non-finite values are left out and counted.

    Args:
        values: Shape (n,).
        groups: The trial and condition of each row.
        scale: Scale on which the median is about normal; logarithmic for ratios of times.
        resampling: Resampling settings of the interval.
    """
    column = as_floats(values)
    kept = all_finite(column)
    column, inner = column[kept], groups.select(kept)
    n, excluded, level = len(column), int(np.sum(~kept)), resampling.level
    if n == 0:
        return Estimate(None, None, None, level, 0, 0, excluded, "no finite value")
    power = power_of_two(column)
    column = np.ldexp(column, -power)
    value = float(np.median(column))
    whole = back(value, power)
    if reason := why_no_interval(inner):
        return Estimate(whole, None, None, level, n, inner.trials, excluded, reason)
    order = np.argsort(column, kind="stable")
    ordered, trial = column[order], inner.trial[order]
    weights = inner.weights(resampling.resamples, resampling.seed)
    step = max(1, _RESAMPLED_CELLS // n)
    resampled = np.concatenate(
        [
            _weighted_medians(ordered, weights[start : start + step, trial])
            for start in range(0, len(weights), step)
        ]
    )
    ends = student_interval(value, resampled, inner.degrees_of_freedom, scale, level)
    low, high = (back(end, power) for end in ends)
    return Estimate(whole, low, high, level, n, inner.trials, excluded)


@dataclass(frozen=True)
class OrderStatistics:
    """Independent draws, for inference on their median.

    Attributes:
        values: Shape (n,), sorted.
    """

    values: FloatArray

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the narrowest pair of order statistics that covers the median at this level."""
        size = len(self.values)
        place = int(stats.binom.ppf((1 - level) / 2, size, 0.5))
        # The quantile is the first place whose tail probability is at least that large.
        if stats.binom.cdf(place, size, 0.5) > (1 - level) / 2:
            place -= 1
        if place < 0:
            return -np.inf, np.inf
        return float(self.values[place]), float(self.values[size - 1 - place])

    def p_below(self, threshold: float) -> float:
        """Return the one-sided p-value of the median being at or above ``threshold``."""
        return float(stats.binom.sf(np.sum(self.values < threshold) - 1, len(self.values), 0.5))

    def p_above(self, threshold: float) -> float:
        """Return the one-sided p-value of the median being at or below ``threshold``."""
        return float(stats.binom.sf(np.sum(self.values > threshold) - 1, len(self.values), 0.5))


def median_of_conditions(
    values: npt.ArrayLike,
    groups: Groups,
    design: Design,
    scale: Scale = LINEAR,
    resampling: Resampling = DEFAULT,
) -> Inference:
    """Infer the median over conditions of each condition's median, with trials weighted equally.

    Args:
        values: Shape (n,); non-finite values are left out and counted.
        groups: The trial and condition of each row.
        design: How conditions were chosen. The interval covers conditions like these only if
            every axis was drawn at random.
        scale: Scale on which the median is about normal, for the bootstrap.
        resampling: Settings of the bootstrap.
    """
    column = as_floats(values)
    kept = all_finite(column)
    column, inner = column[kept], groups.select(kept)
    n, excluded, level = len(column), int(np.sum(~kept)), resampling.level
    if n == 0:
        nothing = Estimate(None, None, None, level, 0, 0, excluded, "no finite value")
        return Inference(nothing, "in this grid")
    order = np.argsort(column, kind="stable")
    ordered, trial, shares = column[order], inner.trial[order], row_shares(inner)[order]
    numbers, condition = np.unique(inner.condition, return_inverse=True)

    def medians(weights: FloatArray) -> FloatArray:
        """Return the median of each condition: shape (r, conditions)."""
        rows = [condition[trial] == one for one in range(len(numbers))]
        return np.stack(
            [_weighted_medians(ordered[one], weights[:, trial[one]] * shares[one]) for one in rows],
            axis=1,
        )

    of_each = medians(np.ones((1, inner.trials)))[0]
    of_conditions = np.sort(of_each)
    value = float(np.median(of_conditions))
    bare = Estimate(value, None, None, level, n, inner.trials, excluded)
    without = None
    if len(numbers) > 2:
        left = [float(np.median(np.delete(of_conditions, one))) for one in range(len(numbers))]
        without = min(left), max(left)
    if len(numbers) >= FEWEST_CONDITIONS:
        drawn = bool(design.axes) and all(axis.drawn for axis in design.axes)
        evidence = OrderStatistics(of_conditions)
        low, high = evidence.interval(level)
        estimate = replace(bare, low=low, high=high)
        if drawn:
            return Inference(estimate, "for conditions like these", "", evidence, without)
        note = "A median over a grid covers only this grid."
        return Inference(estimate, "in this grid", note, evidence, without)
    note = design.reach(numbers).note
    if reason := why_no_interval(inner):
        return Inference(replace(bare, reason=reason), "in this grid", note, None, without)
    weights = inner.weights(resampling.resamples, resampling.seed)
    step = max(1, _RESAMPLED_CELLS // n)
    resampled = scale.forward(
        np.concatenate(
            [
                np.median(medians(weights[start : start + step]), axis=1)
                for start in range(0, len(weights), step)
            ]
        )
    )
    error, centre = float(np.std(resampled, ddof=1)), float(scale.forward(np.array([value]))[0])
    freedom = _freedom_of_middle(inner.condition, of_each)
    if freedom < 1 or error <= 0:
        reason = "no interval: the median does not change with the seeds"
        return Inference(replace(bare, reason=reason), "in this grid", note, None, without)
    ends = float(np.min(resampled)), float(np.max(resampled))
    spread = Spread(centre, centre, error, freedom, scale, ends)
    low, high = spread.interval(level)
    return Inference(replace(bare, low=low, high=high), "in this grid", note, spread, without)


def _freedom_of_middle(condition: IntArray, of_each: FloatArray) -> int:
    """Count trials beyond the first in the one or two conditions that determine the median."""
    trials = np.unique(condition, return_counts=True)[1][np.argsort(of_each, kind="stable")]
    size = len(trials)
    return int(np.sum(trials[(size - 1) // 2 : size // 2 + 1] - 1))


def _weighted_medians(ordered: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted median of sorted values for each row of weights (r, n)."""
    reached = np.cumsum(weights, axis=1)
    half = reached[:, -1:] / 2
    lower = np.argmax(reached >= half - 1e-9, axis=1)
    upper = np.argmax(reached > half + 1e-9, axis=1)
    medians: FloatArray = (ordered[lower] + ordered[upper]) / 2
    return medians
