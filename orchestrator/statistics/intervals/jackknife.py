"""The jackknife: intervals from leaving out one condition, or one trial, at a time.

Conditions are left out if a statement should generalize beyond them. With θ the statistic on a
scale where it is about normal, θ₍ᵢ₎ its value without condition i of C, and θ₍·₎ their mean,

- variance  V = (C − 1)/C · Σ (θ₍ᵢ₎ − θ₍·₎)²,
- bias      b = (C − 1)(θ₍·₎ − θ),
- interval  from min(θ, θ − b) − t·√V to max(θ, θ − b) + t·√V, with Student's t of C − 1 degrees
  of freedom: the value must pass with and without its bias (Arvesen 1969; Hinkley 1978).

Cells of a grid share levels. For each axis of three or more levels, one level at a time is left
out, too, which gives V_a. Every axis counts the spread of single cells once more, so D axes give
V = max(Σ V_a − (D − 1) V, max V_a, V) with (Σ V_a)² / Σ V_a²/(L_a − 1) degrees of freedom
(Cameron, Gelbach and Miller 2011; Satterthwaite 1946).

Trials are left out if a statement is about these conditions with other seeds. The other trials of
the stratum get more weight to replace the one left out, and the variances of strata add up (Shao
and Tu 1995, "The Jackknife and Bootstrap", section 6.2.1), again with Satterthwaite's degrees of
freedom.
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
"""Maps trial weights, shape (r, trials), to values of the statistic, shape (r,)."""

MOST_LEFT_OUT = 200
"""With more conditions, random groups of them are left out (Kott 2001)."""

_CELLS_AT_ONCE = 4_000_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Spread:
    """Uncertainty of a statistic, on the scale where it is about normal.

    Attributes:
        lowest: The lower of the value and the value minus its bias.
        highest: The higher of the two.
        error: Standard error.
        freedom: Degrees of freedom.
        scale: The scale and its inverse.
        without: The smallest and the largest leave-one-out value, transformed back.
    """

    lowest: float
    highest: float
    error: float
    freedom: float
    scale: Scale
    without: tuple[float, float]

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return both ends, transformed back from the scale."""
        half_width = float(special.stdtrit(self.freedom, (1 + level) / 2)) * self.error
        ends = np.array([self.lowest - half_width, self.highest + half_width])
        low, high = self.scale.inverse(ends)
        return float(low), float(high)

    def p_below(self, threshold: float) -> float:
        """Return the one-sided p of a truth at or above ``threshold``: small if clearly below."""
        distance = self.highest - self._on_scale(threshold)
        return float(special.stdtr(self.freedom, distance / self.error))

    def p_above(self, threshold: float) -> float:
        """Return the one-sided p of a truth at or below ``threshold``: small if clearly above."""
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
    """Compute the spread over conditions, and over the levels of a grid's axes.

    Args:
        statistic: The statistic.
        condition: Shape (trials,), the condition of each trial, from 0.
        axes: For each axis with three or more levels: shape (conditions,), the level of each.
        scale: Scale on which the statistic is about normal.

    Returns:
        The spread; None for fewer than two conditions, if the statistic is undefined without one
        of them (or without a level), or if it does not move beyond rounding.
    """
    conditions = int(condition.max(initial=-1)) + 1
    if conditions < 2:
        return None
    blocks = [_blocks(conditions), *(np.unique(axis, return_inverse=True)[1] for axis in axes)]
    sizes = [int(block.max()) + 1 for block in blocks]
    # What each row leaves out: nothing, then each number of each kind of block.
    number = np.concatenate([[-1], *(np.arange(size) for size in sizes)])
    kind = np.concatenate([[0], np.repeat(np.arange(len(sizes)), sizes)])
    of_trials = np.stack(blocks)[:, condition]
    step = max(1, _CELLS_AT_ONCE // len(condition))
    chunks = [slice(start, start + step) for start in range(0, len(number), step)]
    parts = [
        statistic((number[rows, None] != of_trials[kind[rows]]).astype(np.float64))
        for rows in chunks
    ]
    found = scale.forward(np.concatenate(parts))
    if not np.isfinite(found).all():
        return None
    power = power_of_two(found)
    found = np.ldexp(found, -power)
    value, *left_out = np.split(found, np.cumsum([1, *sizes[:-1]]))
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
    """Compute the spread over the seeds of these conditions.

    Args:
        statistic: The statistic.
        strata: The trials of each stratum, at least two; each of 0 to trials − 1 occurs once.
        scale: Scale on which the statistic is about normal.

    Returns:
        The spread; None if a stratum has a single trial, if the statistic is undefined without
        some trial, or if it does not move beyond rounding.
    """
    if not strata or min(len(members) for members in strata) < 2:
        return None
    trials = sum(len(members) for members in strata)
    step = max(1, _CELLS_AT_ONCE // trials)
    blocks = [np.arange(start, min(start + step, trials)) for start in range(0, trials, step)]
    parts = [statistic(jackknife_weights(strata, block)) for block in blocks]
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
    """Build the spread of values divided by a power of two to keep their squares in range."""
    if variance <= (_ROUNDING * float(np.abs(left_out).max())) ** 2:
        return None
    with np.errstate(over="ignore"):  # Overflow gives infinity.
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


def jackknife_weights(strata: Sequence[IntArray], left_out: IntArray | None = None) -> FloatArray:
    """Return trial weights with one trial left out per row.

    Args:
        strata: The trials of each stratum, at least two; each of 0 to trials − 1 occurs once.
        left_out: Shape (r,), the trial to leave out in each row; by default every trial in turn.

    Returns:
        Shape (r, trials).

    Raises:
        ValueError: If a stratum has a single trial.
    """
    sizes = np.array([len(members) for members in strata])
    if (sizes < 2).any():
        raise ValueError("a stratum of one trial cannot be jackknifed")
    stratum = np.empty(sizes.sum(), dtype=np.int64)
    for number, members in enumerate(strata):
        stratum[members] = number
    rows = np.arange(len(stratum)) if left_out is None else left_out
    raised = (sizes / (sizes - 1))[stratum]
    weights = np.where(stratum[rows, None] == stratum, raised, 1.0)
    weights[np.arange(len(rows)), rows] = 0.0
    return weights


def jackknife_interval(
    value: float, left_out: FloatArray, strata: Sequence[IntArray], level: float
) -> tuple[float | None, float | None]:
    """Compute a statistic's interval from its values with one trial left out.

    Args:
        value: The statistic over all trials.
        left_out: Shape (trials,), the statistic under each row of :func:`jackknife_weights`.
        strata: The strata given to that function.
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
    """Return a statistic's variance and Satterthwaite's degrees of freedom (1 if constant)."""
    variances = np.array([_variance(left_out[one]) for one in strata])
    freedom = np.array([len(one) - 1 for one in strata])
    squares = float(np.sum(variances**2 / freedom))
    total = float(variances.sum())
    return total, total**2 / squares if squares > 0 else 1.0
