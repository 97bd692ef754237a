"""The interval of a statistic of networks in conditions, and the scope of that interval.

With six or more conditions that represent others, the interval comes from leaving out conditions,
and levels of a grid's axes. Otherwise it comes from leaving out trials, and covers this grid alone
(:mod:`orchestrator.statistics.study_design`, :mod:`.jackknife`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from orchestrator.statistics.intervals.bootstrap import (
    LEVEL,
    LINEAR,
    Groups,
    Scale,
    fisher,
    why_no_interval,
)
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, IntArray
from orchestrator.statistics.intervals.jackknife import (
    Spread,
    Statistic,
    leave_out_conditions,
    leave_out_trials,
)
from orchestrator.statistics.study_design import Design, Reach, Scope

CORRELATIONS = fisher(1e-9)
"""Scale of Pearson's r and Spearman's ρ."""


def _arcsine(values: FloatArray) -> FloatArray:
    return np.arcsin(np.clip(values, -1.0, 1.0))


def _sine(values: FloatArray) -> FloatArray:
    return np.sin(np.clip(values, -np.pi / 2, np.pi / 2))


PAIRS = Scale(_arcsine, _sine)
"""Scale of Kendall's τ. In simulations on τ's own scale, one verdict in fifteen was wrong near
−0.8. On Fisher's scale, the interval was missing once τ was ±1 without some condition.
"""
MOST_TRIALS_BESIDE = 500
"""With more trials, the supplementary interval for this grid alone is not computed."""


class Evidence(Protocol):
    """The basis of an interval, for testing the truth against any value."""

    def p_below(self, threshold: float) -> float:
        """Return the one-sided p-value of the truth being at or above ``threshold``."""

    def p_above(self, threshold: float) -> float:
        """Return the one-sided p-value of the truth being at or below ``threshold``."""


@dataclass(frozen=True)
class Inference:
    """A statistic, its interval, and their scope.

    Attributes:
        estimate: Value and interval.
        scope: Conditions that the interval covers.
        note: Qualification of the scope, a sentence or "".
        spread: The basis of the interval; None without an interval.
        without: The smallest and the largest value with any one condition left out; None for
            fewer than three conditions, or if conditions were not left out.
        here: The interval for this grid alone, if ``estimate`` generalizes further.
    """

    estimate: Estimate
    scope: Scope
    note: str = ""
    spread: Evidence | None = None
    without: tuple[float, float] | None = None
    here: Estimate | None = None

    def p_below(self, threshold: float) -> float:
        """Return the one-sided p of a truth at or above the threshold; 1 without an interval."""
        return 1.0 if self.spread is None else self.spread.p_below(threshold)

    def p_above(self, threshold: float) -> float:
        """Return the one-sided p of a truth at or below the threshold; 1 without an interval."""
        return 1.0 if self.spread is None else self.spread.p_above(threshold)


def infer(
    statistic: Statistic,
    groups: Groups,
    design: Design,
    scale: Scale = LINEAR,
    *,
    rows: int = 0,
    excluded: int = 0,
    limits: tuple[float, float] = (-np.inf, np.inf),
    undefined: str = "undefined for these rows",
    unit: IntArray | None = None,
    seeds: bool = True,
    beside: bool = True,
    level: float = LEVEL,
) -> Inference:
    """Infer the value, interval and scope of a statistic.

    Args:
        statistic: Maps weights of trials to values, see :mod:`.over_conditions`.
        groups: The trial and condition of each row used.
        design: How the conditions were chosen; condition numbers are those of ``groups``.
        scale: Scale on which the statistic is about normal.
        rows: Number of rows used.
        excluded: Number of rows left out.
        limits: Range of possible values, to which interval ends are clipped.
        undefined: Reason for a missing value, if it is NaN.
        unit: Shape (trials,), the unit left out as a whole if larger than a condition, given by
            the number of one of its conditions.
        seeds: Whether trials of one condition can be left out. A statistic of seed effects has
            independent parts in each condition, which are left out instead.
        beside: Whether to compute the interval for this grid alone, too, if it is not the main one.
        level: Confidence level.
    """
    value = float(statistic(np.ones((1, groups.trials)))[0]) if groups.trials else np.nan
    bare = Estimate(None, None, None, level, rows, groups.trials, excluded, undefined)
    numbers, units = np.unique(groups.condition if unit is None else unit, return_inverse=True)
    noun = "condition" if unit is None else "setting of the other hyperparameters"
    reach = design.reach(numbers, noun)
    if not np.isfinite(value):
        return Inference(bare, reach.scope, reach.note)
    bare = replace(bare, value=value, reason="")
    general = leave_out_conditions(statistic, units, reach.axes, scale)
    without = general.without if general is not None and len(numbers) > 2 else None
    if reach.scope == "in this grid" and seeds:
        return _in_this_grid(bare, statistic, groups, scale, limits, reach, without)
    if general is None or (len(numbers) < 3):
        reason = "undefined without some condition, or constant when conditions are left out"
        return Inference(replace(bare, reason=f"no interval: {reason}"), reach.scope, reach.note)
    estimate = _with_ends(bare, general, limits)
    here = None
    if seeds and beside and groups.trials <= MOST_TRIALS_BESIDE and not why_no_interval(groups):
        spread = leave_out_trials(statistic, _strata(groups), scale)
        here = None if spread is None else _with_ends(bare, spread, limits)
    return Inference(estimate, reach.scope, reach.note, general, without, here)


def _in_this_grid(
    bare: Estimate,
    statistic: Statistic,
    groups: Groups,
    scale: Scale,
    limits: tuple[float, float],
    reach: Reach,
    without: tuple[float, float] | None,
) -> Inference:
    reason = why_no_interval(groups)
    spread = None if reason else leave_out_trials(statistic, _strata(groups), scale)
    if spread is None:
        reason = reason or (
            "no interval: undefined without some trial, or constant when trials are left out"
        )
        return Inference(replace(bare, reason=reason), reach.scope, reach.note, without=without)
    estimate = _with_ends(bare, spread, limits)
    return Inference(estimate, reach.scope, reach.note, spread, without)


def _strata(groups: Groups) -> list[IntArray]:
    """Group trials that differ by their seeds; a single trial joins the smallest other group.

    Such pooling errs on the wide side, since it counts a difference of conditions as one of seeds.
    """
    strata = sorted(groups.strata(), key=len)
    if len(strata) > 1 and len(strata[0]) == 1:
        return [np.concatenate(strata[:2]), *strata[2:]]
    return strata


def _with_ends(bare: Estimate, spread: Spread, limits: tuple[float, float]) -> Estimate:
    low, high = np.clip(spread.interval(bare.level), *limits)
    p_value = 2 * min(spread.p_below(0.0), spread.p_above(0.0))
    return replace(bare, low=float(low), high=float(high), p_value=min(1.0, p_value))
