"""From a statistic of networks in conditions to its interval, and to what that speaks of.

With six or more conditions that could have been others the interval comes from leaving out
conditions, and levels of a grid's axes; otherwise from leaving out trials, and then speaks of this
grid alone (:mod:`.design`, :mod:`.jackknife`).
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
"""Of Pearson's r and Spearman's ρ."""


def _arcsine(values: FloatArray) -> FloatArray:
    return np.arcsin(np.clip(values, -1.0, 1.0))


def _sine(values: FloatArray) -> FloatArray:
    return np.sin(np.clip(values, -np.pi / 2, np.pi / 2))


PAIRS = Scale(_arcsine, _sine)
"""Of Kendall's τ. On its own scale one of its verdicts in fifteen would be wrong near −0.8, on
Fisher's there is no interval once τ is ±1 without some condition; both simulated.
"""
MOST_TRIALS_BESIDE = 500
"""With more trials the interval for this grid alone, which only stands beside, is not made."""


class Evidence(Protocol):
    """What an interval was made of, to compare the truth with any value."""

    def p_below(self, threshold: float) -> float:
        """One-sided p of the truth being at or above ``threshold``."""

    def p_above(self, threshold: float) -> float:
        """One-sided p of the truth being at or below ``threshold``."""


@dataclass(frozen=True)
class Inference:
    """A statistic, its interval, and what both speak of.

    Attributes:
        estimate: Value and interval.
        scope: What the interval speaks of.
        note: What qualifies the scope, a sentence or "".
        spread: What the interval was made of; None where there is none.
        without: The least and the largest value without any one condition; None where there are
            fewer than three, or conditions were not left out.
        here: The interval for this grid alone, where ``estimate`` reaches further.
    """

    estimate: Estimate
    scope: Scope
    note: str = ""
    spread: Evidence | None = None
    without: tuple[float, float] | None = None
    here: Estimate | None = None

    def p_below(self, threshold: float) -> float:
        """One-sided p of the truth being at or above the threshold; 1 without an interval."""
        return 1.0 if self.spread is None else self.spread.p_below(threshold)

    def p_above(self, threshold: float) -> float:
        """One-sided p of the truth being at or below the threshold; 1 without an interval."""
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
    """Value, interval and reach of a statistic.

    Args:
        statistic: From weights of trials to values, see :mod:`.over_conditions`.
        groups: The trial and condition of each row that it rests on.
        design: How the conditions were chosen; numbers of conditions are those of ``groups``.
        scale: Where the statistic is about normal.
        rows: Rows it rests on.
        excluded: Rows that were left out.
        limits: Where values lie; ends beyond are moved there.
        undefined: Why there is no value, if it is NaN.
        unit: Shape (trials,), what is left out as one where that is more than a condition, by
            the number of one of its conditions.
        seeds: Whether trials of one condition can be left out. A statistic of what seeds change
            has independent parts in each condition, which are left out instead.
        beside: Whether the interval for this grid alone is made, too, where it is not the main one.
        level: Confidence level.
    """
    value = float(statistic(np.ones((1, groups.trials)))[0]) if groups.trials else np.nan
    bare = Estimate(None, None, None, level, rows, groups.trials, excluded, undefined)
    numbers, units = np.unique(groups.condition if unit is None else unit, return_inverse=True)
    noun = "condition" if unit is None else "setting of everything else"
    reach = design.reach(numbers, noun)
    if not np.isfinite(value):
        return Inference(bare, reach.scope, reach.note)
    bare = replace(bare, value=value, reason="")
    general = leave_out_conditions(statistic, units, reach.axes, scale)
    without = general.without if general is not None and len(numbers) > 2 else None
    if reach.scope == "in this grid" and seeds:
        return _in_this_grid(bare, statistic, groups, scale, limits, reach, without)
    if general is None or (len(numbers) < 3):
        reason = "without some condition it is undefined, or nothing changes"
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
        reason = reason or "no interval: without some trial it is undefined, or nothing changes"
        return Inference(replace(bare, reason=reason), reach.scope, reach.note, without=without)
    estimate = _with_ends(bare, spread, limits)
    return Inference(estimate, reach.scope, reach.note, spread, without)


def _strata(groups: Groups) -> list[IntArray]:
    """Trials that differ by their seeds; one that is alone is pooled with the smallest others.

    That errs on the wide side, for it takes a difference of conditions for one of seeds.
    """
    strata = sorted(groups.strata(), key=len)
    if len(strata) > 1 and len(strata[0]) == 1:
        return [np.concatenate(strata[:2]), *strata[2:]]
    return strata


def _with_ends(bare: Estimate, spread: Spread, limits: tuple[float, float]) -> Estimate:
    low, high = np.clip(spread.interval(bare.level), *limits)
    p_value = 2 * min(spread.p_below(0.0), spread.p_above(0.0))
    return replace(bare, low=float(low), high=float(high), p_value=min(1.0, p_value))
