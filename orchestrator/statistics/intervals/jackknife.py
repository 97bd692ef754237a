"""The jackknife: leave out one condition, or one trial, at a time, and see how a statistic moves.

Conditions are left out where a statement is to reach beyond them. With θ the statistic on a scale
where it is about normal, θ₍ᵢ₎ without condition i of C, and their mean θ₍·₎,

- variance  V = (C − 1)/C · Σ (θ₍ᵢ₎ − θ₍·₎)²,
- bias      b = (C − 1)(θ₍·₎ − θ),
- interval  from min(θ, θ − b) − t·√V to max(θ, θ − b) + t·√V, with Student's t of C − 1 degrees
  of freedom: the value must pass with its bias and without (Arvesen 1969; Hinkley 1978).

Cells of a grid share levels. For each axis of three or more levels one level at a time is left
out, too, which gives V_a. Every axis counts the spread of single cells once more, so D axes give
V = max(Σ V_a − (D − 1) V, max V_a, V) with (Σ V_a)² / Σ V_a²/(L_a − 1) degrees of freedom
(Cameron, Gelbach and Miller 2011; Satterthwaite 1946).

Trials are left out where a statement is of these conditions with other seeds. The others of the
stratum count more in place of the one left out; strata add up (Shao and Tu 1995, "The Jackknife
and Bootstrap", section 6.2.1), again with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from orchestrator.statistics.intervals.bootstrap import LEVEL, LINEAR, Scale
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray
from orchestrator.statistics.intervals.magnitude import power_of_two

Statistic = Callable[[FloatArray], FloatArray]
"""From how much each trial counts, shape (r, trials), to the statistic, shape (r,)."""

MOST_LEFT_OUT = 200
"""With more conditions random groups of them are left out (Kott 2001)."""

_CELLS_AT_ONCE = 4_000_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Spread:
    """How far a statistic can be from the truth, on the scale where it is about normal.

    Attributes:
        lowest: The lower of the value and the value less its bias.
        highest: The higher of the two.
        error: Standard error.
        freedom: Degrees of freedom.
        scale: The scale, and the way back.
        without: The least and the largest value with something left out, on the way back.
    """

    lowest: float
    highest: float
    error: float
    freedom: float
    scale: Scale
    without: tuple[float, float]

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Both ends, on the way back from the scale."""
        half_width = float(special.stdtrit(self.freedom, (1 + level) / 2)) * self.error
        ends = np.array([self.lowest - half_width, self.highest + half_width])
        low, high = self.scale.inverse(ends)
        return float(low), float(high)

    def p_below(self, threshold: float) -> float:
        """One-sided p of the truth being at or above ``threshold``: small if surely below."""
        distance = self.highest - self._on_scale(threshold)
        return float(special.stdtr(self.freedom, distance / self.error))

    def p_above(self, threshold: float) -> float:
        """One-sided p of the truth being at or below ``threshold``: small if surely above."""
        distance = self.lowest - self._on_scale(threshold)
        return float(special.stdtr(self.freedom, -distance / self.error))

    def _on_scale(self, threshold: float) -> float:
        return float(self.scale.forward(np.array([threshold]))[0])


def leave_out_conditions(
    statistic: Statistic,
    condition: IntArray,
    axes: Sequence[IntArray] = (),
    scale: Scale = LINEAR,
) -> Spread | None:
    """Spread over conditions, and over the levels of the axes of a grid.

    Args:
        statistic: The statistic.
        condition: Shape (trials,), the condition of each trial, from 0.
        axes: For each axis with three or more levels: shape (conditions,), the level of each.
        scale: Where the statistic is about normal.

    Returns:
        None if there are fewer than two conditions, if the statistic is undefined without one of
        them (or without a level), or if nothing moves beyond rounding.
    """
    conditions = int(condition.max(initial=-1)) + 1
    if conditions < 2:
        return None
    blocks = [_blocks(conditions), *(np.unique(axis, return_inverse=True)[1] for axis in axes)]
    masks = [np.arange(block.max() + 1)[:, None] != block for block in blocks]
    weights = np.concatenate([np.ones((1, conditions)), *masks])[:, condition]
    found = scale.forward(statistic(weights))
    if not np.isfinite(found).all():
        return None
    power = power_of_two(found)
    found = np.ldexp(found, -power)
    value, *left_out = np.split(found, np.cumsum([1, *(len(mask) for mask in masks[:-1])]))
    cells, *levels = (_variance(one) for one in left_out)
    freedom = len(left_out[0]) - 1.0
    variance = cells
    if levels:
        variance = max(sum(levels) - (len(levels) - 1) * cells, *levels, cells)
        squares = sum(v**2 / (len(one) - 1) for v, one in zip(levels, left_out[1:], strict=True))
        freedom = sum(levels) ** 2 / squares if squares > 0 else freedom
    centre = float(value[0])
    bias = (len(left_out[0]) - 1) * (float(left_out[0].mean()) - centre)
    return _spread(centre, centre - bias, variance, freedom, scale, left_out[0], power)


def leave_out_trials(
    statistic: Statistic, strata: Sequence[IntArray], scale: Scale = LINEAR
) -> Spread | None:
    """Spread over the seeds of these conditions.

    Args:
        statistic: The statistic.
        strata: The trials of each stratum, at least two; together each of 0 to trials − 1 once.
        scale: Where the statistic is about normal.

    Returns:
        None if a stratum has a single trial, if the statistic is undefined without some trial, or
        if nothing moves beyond rounding.
    """
    if not strata or min(len(members) for members in strata) < 2:
        return None
    trials = sum(len(members) for members in strata)
    weights = jackknife_weights(strata)
    step = max(1, _CELLS_AT_ONCE // trials)
    parts = [statistic(weights[start : start + step]) for start in range(0, trials, step)]
    found = scale.forward(np.concatenate([statistic(np.ones((1, trials))), *parts]))
    if not np.isfinite(found).all():
        return None
    power = power_of_two(found)
    centre, left_out = float(np.ldexp(found[0], -power)), np.ldexp(found[1:], -power)
    variance, freedom = _of_strata(left_out, strata)
    return _spread(centre, centre, variance, freedom, scale, left_out, power)


def _spread(
    centre: float,
    unbiased: float,
    variance: float,
    freedom: float,
    scale: Scale,
    left_out: FloatArray,
    power: int,
) -> Spread | None:
    """The spread of what was divided by a power of two, so that no square is out of range."""
    if variance <= (_ROUNDING * float(np.abs(left_out).max())) ** 2:
        return None
    with np.errstate(over="ignore"):  # What is beyond all numbers is infinite.
        ends = np.ldexp([min(centre, unbiased), max(centre, unbiased)], power).tolist()
        error = float(np.ldexp(float(variance) ** 0.5, power))
        without = scale.inverse(np.ldexp([left_out.min(), left_out.max()], power)).tolist()
    return Spread(ends[0], ends[1], error, float(freedom), scale, (without[0], without[1]))


def _variance(left_out: FloatArray) -> float:
    return (len(left_out) - 1) * float(np.var(left_out))


def _blocks(conditions: int) -> IntArray:
    if conditions <= MOST_LEFT_OUT:
        return np.arange(conditions)
    order = np.random.default_rng(conditions).permutation(conditions)
    return np.asarray(order % MOST_LEFT_OUT, dtype=np.int64)


def jackknife_weights(strata: Sequence[IntArray]) -> FloatArray:
    """How much each trial counts where one is left out: shape (trials, trials), a row for each.

    Args:
        strata: The trials of each stratum, at least two; together each of 0 to trials − 1 once.

    Raises:
        ValueError: If a stratum has a single trial.
    """
    trials = sum(len(members) for members in strata)
    weights = np.ones((trials, trials))
    for members in strata:
        size = len(members)
        if size < 2:
            raise ValueError("a stratum of one trial has no jackknife")
        weights[np.ix_(members, members)] = size / (size - 1)
    np.fill_diagonal(weights, 0.0)
    return weights


def jackknife_interval(
    value: float, left_out: FloatArray, strata: Sequence[IntArray], level: float
) -> tuple[float | None, float | None]:
    """Interval of a statistic from its values with one trial left out.

    Args:
        value: The statistic of all trials.
        left_out: Shape (trials,), the statistic under each row of :func:`jackknife_weights`.
        strata: As given there.
        level: Confidence level.

    Returns:
        Both ends; (None, None) if the statistic is undefined without some trial.
    """
    if not np.all(np.isfinite(left_out)):
        return None, None
    variance, freedom = _of_strata(left_out, strata)
    if variance <= 0:
        return value, value
    half_width = float(special.stdtrit(freedom, (1 + level) / 2)) * variance**0.5
    return value - half_width, value + half_width


def _of_strata(left_out: FloatArray, strata: Sequence[IntArray]) -> tuple[float, float]:
    """Variance of a statistic, and Satterthwaite's degrees of freedom (1 where nothing varies)."""
    variances = np.array([_variance(left_out[one]) for one in strata])
    freedom = np.array([len(one) - 1 for one in strata])
    squares = float(np.sum(variances**2 / freedom))
    total = float(variances.sum())
    return total, total**2 / squares if squares > 0 else 1.0
