"""The ratio of two statistics, with an interval from tests of numerator − ρ · denominator.

Fieller's interval contains every ρ for which this difference could be 0. It uses no logarithm, so
numerators at or below 0 are allowed; the denominator must differ significantly from 0.
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
    """A ratio that can be tested against any value.

    Attributes:
        inference: Value, interval and scope.
        against: Maps ρ to the inference of numerator − ρ · denominator, both with the sign that
            makes the denominator positive.
        bounded: Whether the denominator differs significantly from 0; if not, p-values are 1.
    """

    inference: Inference
    against: Callable[[float], Inference]
    bounded: bool

    def p_below(self, ratio: float) -> float:
        """Return the one-sided p-value of the truth being at or above ``ratio``."""
        return self.against(ratio).p_below(0.0) if self.bounded else 1.0

    def p_above(self, ratio: float) -> float:
        """Return the one-sided p-value of the truth being at or below ``ratio``."""
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
    zero: str = "the denominator is not significantly different from 0",
    unit: IntArray | None = None,
) -> Ratio:
    """Infer the ratio of two statistics of the same trials.

    Args:
        numerator: Maps weights of trials to values.
        denominator: Maps weights of trials to values.
        groups: The trial and condition of each row.
        design: How the conditions were chosen.
        rows: Number of rows used.
        excluded: Number of rows left out.
        undefined: Reason for a missing value, if it is NaN.
        zero: Reason for a missing interval, if the denominator may be 0.
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
    """Find where a one-sided p falls to its limit, outward from a ratio with a larger p."""
    step = max(abs(start), 1.0) * 0.1
    near, far = start, start + direction * step
    while p(far) > ONE_SIDED:
        if step > _FARTHEST * max(abs(start), 1.0):
            return float(direction * np.inf)
        step *= 2
        near, far = far, start + direction * step
    # The root is bracketed: p is above the limit at ``near``, and not above it at ``far``.
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
