"""Effects of each intervention on two measures, with intervals: whether it moves only one.

If flatness is nothing but margin, every intervention that moves one measure moves the other. A
single intervention that moves one, and clearly leaves the other in place, shows that they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import Literal

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.association.correlation import pearson
from orchestrator.statistics.grid.factor_share import factor_share
from orchestrator.statistics.intervals import magnitude
from orchestrator.statistics.intervals.bootstrap import LINEAR, Groups, as_floats, why_no_interval
from orchestrator.statistics.intervals.estimate import BoolArray, Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.resampling import DEFAULT, Resampling, with_resamples

MOVED = 0.5
"""Smallest shift, in standard deviations, at which an intervention counts as moving a measure."""

Moves = Literal["x only", "y only", "both", "neither", "unclear"]


@dataclass(frozen=True)
class InterventionEffect:
    """One way of training against the reference.

    Attributes:
        name: Name of the way of training.
        correlation: Pearson's r of the two measures within it.
        change: That r minus r within the reference.
        x_shift: Mean of x minus that under the reference, in standard deviations of x within ways
            of training, which are taken as known.
        y_shift: The same for y.
        shift_difference: |x_shift| − |y_shift|; above 0, x moves more than y.
        moves: The measures that it moves. A measure counts as moved if its shift's whole interval
            lies beyond ±½ on one side, as unmoved if it lies within, and as unclear otherwise.
    """

    name: str
    correlation: Estimate
    change: Estimate
    x_shift: Estimate
    y_shift: Estimate
    shift_difference: Estimate
    moves: Moves


@dataclass(frozen=True)
class InterventionEffects:
    """Effects of changed training on two measures.

    Attributes:
        reference: Pearson's r within the reference.
        effects: Effects of every other way of training, in order of appearance.
        x_share: Share of the variance of x that ways of training explain beyond seeds, see
            :func:`factor_share`.
        y_share: The same for y.
    """

    reference: Estimate
    effects: tuple[InterventionEffect, ...]
    x_share: Estimate
    y_share: Estimate


def intervention_effects(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    intervention: Sequence[str],
    reference: str,
    groups: Groups,
    resampling: Resampling = DEFAULT,
) -> InterventionEffects:
    """Compute shifts, correlations and variance shares of every way of training, with intervals.

    Intervals of shifts come from the bootstrap over trials. The interval of ``change`` combines
    those of the two correlations, which use different trials (Zou 2007, "Toward using confidence
    intervals to compare correlations", Psychological Methods 12, 399–413). Each way of training
    and measure is a separate test: with many tests, some shifts are due to chance.

    Other hyperparameters should be the same under all ways of training.

    Args:
        x: Shape (n,), for example log₁₀ trace.
        y: Shape (n,), for example mean margin. Rows not finite in both are left out and counted.
        intervention: Shape (n,), the way of training of each row's network.
        reference: The usual way of training.
        groups: The trial and condition of each row; a condition has one way of training.
        resampling: Resampling settings of the intervals.

    Raises:
        ValueError: If lengths differ, the reference has no rows, or a condition has two ways of
            training.
    """
    columns = np.stack([as_floats(x), as_floats(y)])
    if not columns.shape[1] == len(intervention) == len(groups.trial):
        raise ValueError(
            f"{columns.shape[1]} values, {len(intervention)} interventions, "
            f"{len(groups.trial)} rows in groups"
        )
    if reference not in intervention:
        raise ValueError(f"no row of the reference {reference!r}, got {sorted(set(intervention))}")
    kept = all_finite(columns.T)
    excluded = int(np.sum(~kept))
    # Shifts are in standard deviations.
    table = np.array([magnitude.usual(column) for column in columns[:, kept]])
    inner = groups.select(kept)
    labels = np.array(intervention, dtype=object)[kept]
    names = [name for name in dict.fromkeys(intervention) if name != reference]
    spread = _spread(table, labels)

    def counted(estimate: Estimate) -> Estimate:
        return replace(estimate, n_excluded=excluded)

    def inside(name: str) -> Estimate:
        rows = labels == name
        return pearson(table[0, rows], table[1, rows], inner.select(rows), resampling)

    usual = inside(reference)

    def effect(name: str) -> InterventionEffect:
        rows = (labels == name) | (labels == reference)
        shifts = _shifts(
            table[:, rows] / spread[:, None], labels[rows] == name, inner.select(rows), resampling
        )
        x_shift, y_shift, difference = (counted(one) for one in shifts)
        r = inside(name)
        change = counted(_change(r, usual))
        moves = _moves(_moved(x_shift), _moved(y_shift))
        return InterventionEffect(name, r, change, x_shift, y_shift, difference, moves)

    shares = [factor_share(column, labels.tolist(), inner, resampling.level) for column in table]
    return InterventionEffects(
        usual, tuple(effect(name) for name in names), counted(shares[0]), counted(shares[1])
    )


def _spread(table: FloatArray, labels: npt.NDArray[np.object_]) -> FloatArray:
    """Return each column's standard deviation within ways of training; NaN if constant."""
    names = set(labels.tolist())
    squares = np.zeros(len(table))
    for name in names:
        rows = table[:, labels == name]
        squares += ((rows - rows.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    spread: FloatArray = np.sqrt(squares / max(1, table.shape[1] - len(names)))
    largest = np.max(np.abs(table), axis=1, initial=0)
    # A spread this small is rounding error.
    return np.where(spread > 1e-13 * largest, spread, np.nan)


def _shifts(
    table: FloatArray, changed: BoolArray, groups: Groups, resampling: Resampling
) -> list[Estimate]:
    """Return the shift of each column, and the difference of their absolute values."""
    n = table.shape[1]
    bare = Estimate(None, None, None, resampling.level, n, groups.trials, 0)
    if changed.all() or not changed.any():
        return [replace(bare, reason="no finite row to compare with")] * 3
    weights = groups.weights(resampling.resamples, resampling.seed)
    weights = np.vstack([np.ones((1, groups.trials)), weights])
    differences = np.zeros((len(weights), 2))
    for rows, sign in ((changed, 1), (~changed, -1)):
        sums = groups.sums((table * rows).T)
        counts = groups.sums(rows.astype(np.float64))
        counts = (weights @ counts)[:, None]
        # A resample can leave out the only trial of a way of training.
        differences += sign * (weights @ sums) / np.where(counts > 0, counts, np.nan)
    sizes = np.abs(differences)
    found = []
    for values in (*differences.T, sizes[:, 0] - sizes[:, 1]):
        if not np.isfinite(values[0]):
            found.append(replace(bare, reason="a measure does not vary within ways of training"))
            continue
        shift = replace(bare, value=float(values[0]))
        if reason := why_no_interval(groups):
            found.append(replace(shift, reason=reason))
        else:
            freedom = groups.degrees_of_freedom
            found.append(with_resamples(shift, values[1:], freedom, LINEAR))
    return found


def _change(r: Estimate, reference: Estimate) -> Estimate:
    n, trials = r.n + reference.n, r.n_groups + reference.n_groups
    bare = Estimate(None, None, None, r.level, n, trials, 0)
    if r.value is None or reference.value is None:
        return replace(bare, reason=r.reason or reference.reason)
    change = r.value - reference.value
    bare = replace(bare, value=change)
    if r.low is None or r.high is None or reference.low is None or reference.high is None:
        return replace(bare, reason=r.reason or reference.reason)
    low = change - hypot(r.value - r.low, reference.high - reference.value)
    high = change + hypot(r.high - r.value, reference.value - reference.low)
    return replace(bare, low=low, high=high)


def _moved(shift: Estimate) -> bool | None:
    """Return whether the shift moves the measure; None if its interval does not decide."""
    if shift.low is None or shift.high is None:
        return None
    if shift.low >= MOVED or shift.high <= -MOVED:
        return True
    return False if shift.low > -MOVED and shift.high < MOVED else None


def _moves(x: bool | None, y: bool | None) -> Moves:
    if x is None or y is None:
        return "unclear"
    if x:
        return "both" if y else "x only"
    return "y only" if y else "neither"
