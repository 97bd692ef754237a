"""The ratio of two statistics, with the interval that tests of numerator − ρ · denominator give.

Fieller's interval: every ρ for which the difference could be 0. It needs no logarithm, so
numerators at or below 0 are as good as others; the denominator has to differ from 0 surely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from orchestrator.statistics.claim import ONE_SIDED
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray
from orchestrator.statistics.intervals.inference import Inference, infer
from orchestrator.statistics.intervals.jackknife import Statistic
from orchestrator.statistics.study_design import Design

_FARTHEST = 1e6


@dataclass(frozen=True)
class Ratio:
    """A ratio, judged against any value.

    Attributes:
        inference: Value, interval and scope.
        against: From ρ to the inference of numerator − ρ · denominator, both with the sign that
            makes the denominator positive.
        bounded: Whether the denominator surely differs from 0; nothing is sure without.
    """

    inference: Inference
    against: Callable[[float], Inference]
    bounded: bool

    def p_below(self, ratio: float) -> float:
        """One-sided p of the truth being at or above ``ratio``."""
        return self.against(ratio).p_below(0.0) if self.bounded else 1.0

    def p_above(self, ratio: float) -> float:
        """One-sided p of the truth being at or below ``ratio``."""
        return self.against(ratio).p_above(0.0) if self.bounded else 1.0


def infer_ratio(
    numerator: Statistic,
    denominator: Statistic,
    groups: Groups,
    design: Design,
    *,
    rows: int = 0,
    excluded: int = 0,
    undefined: str = "undefined for these rows",
    zero: str = "the denominator is not surely different from 0",
    unit: IntArray | None = None,
) -> Ratio:
    """Ratio of two statistics of the same trials.

    Args:
        numerator: From weights of trials to values.
        denominator: The same.
        groups: The trial and condition of each row.
        design: How the conditions were chosen.
        rows: Rows it rests on.
        excluded: Rows that were left out.
        undefined: Why there is no value, if it is NaN.
        zero: Why there is no interval, if the denominator may be 0.
        unit: See :func:`infer`.
    """
    top, bottom = _remembered(numerator), _remembered(denominator)
    everything = np.ones((1, groups.trials))
    values = [float(one(everything)[0]) if groups.trials else np.nan for one in (top, bottom)]
    sign = -1.0 if values[1] < 0 else 1.0

    def against(ratio: float) -> Inference:
        return infer(
            lambda weights: sign * (top(weights) - ratio * bottom(weights)),
            groups,
            design,
            rows=rows,
            excluded=excluded,
            undefined=undefined,
            unit=unit,
            beside=False,
        )

    scale = infer(lambda weights: sign * bottom(weights), groups, design, unit=unit, beside=False)
    value = values[0] / values[1] if values[1] else np.nan
    at_value = against(value if np.isfinite(value) else 0.0)
    bare = replace(
        at_value.estimate,
        value=float(value) if np.isfinite(value) else None,
        low=None,
        high=None,
        p_value=None,
    )
    if bare.value is None:
        bare = replace(bare, reason=bare.reason or undefined)
        return Ratio(replace(at_value, estimate=bare, spread=None), against, bounded=False)
    bounded = scale.p_above(0.0) <= ONE_SIDED
    if at_value.spread is None or not bounded:
        reason = at_value.estimate.reason if at_value.spread is None else f"no interval: {zero}"
        bare = replace(bare, reason=reason)
        return Ratio(replace(at_value, estimate=bare, without=None, here=None), against, bounded)
    low = _end(lambda ratio: against(ratio).p_above(0.0), float(value), -1.0)
    high = _end(lambda ratio: against(ratio).p_below(0.0), float(value), 1.0)
    estimate = replace(bare, low=low, high=high)
    without = None
    if at_value.without is not None and groups.trials:
        without = _without(top, bottom, groups.condition if unit is None else unit)
    inference = replace(at_value, estimate=estimate, without=without, here=None)
    return Ratio(inference, against, bounded)


def _end(p: Callable[[float], float], start: float, direction: float) -> float:
    """Where a one-sided p falls to its limit, outward from a ratio at which it is larger."""
    step = max(abs(start), 1.0) * 0.1
    near, far = start, start + direction * step
    while p(far) > ONE_SIDED:
        if step > _FARTHEST * max(abs(start), 1.0):
            return float(direction * np.inf)
        step *= 2
        near, far = far, start + direction * step
    # A root is found where signs differ: at the ratio itself p is larger, at ``far`` smaller.
    return float(optimize.brentq(lambda ratio: p(ratio) - ONE_SIDED, near, far, rtol=1e-12))


def _without(top: Statistic, bottom: Statistic, unit: IntArray) -> tuple[float, float]:
    weights = (np.unique(unit)[:, None] != unit).astype(np.float64)
    found = top(weights) / bottom(weights)
    return float(found.min()), float(found.max())


def _remembered(statistic: Statistic) -> Statistic:
    known: dict[bytes, FloatArray] = {}

    def values(weights: FloatArray) -> FloatArray:
        key = weights.tobytes()
        if key not in known:
            known[key] = statistic(weights)
        return known[key]

    return values
