"""Comparison of two measures by how well they rank networks by generalization gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.association.concordance import Compared
from orchestrator.statistics.association.pairs import Variant
from orchestrator.statistics.association.ranking import kendall
from orchestrator.statistics.claim import counted
from orchestrator.statistics.grid.granulated import Seeds, granulated_kendall, granulated_resamples
from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.intervals.bootstrap import (
    LINEAR,
    Groups,
    as_floats,
    student_interval,
    why_no_interval,
)
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.resampling import DEFAULT, Resampling, with_resamples

_FEWEST_ROWS = 4


@dataclass(frozen=True)
class Comparison:
    """Two measures against one target, on the same networks.

    Attributes:
        first: Rank correlation of the first measure and the target: Kendall's τ_b, or Ψ.
        second: The same for the second measure.
        advantage: Absolute value of the first minus that of the second.
    """

    first: Estimate
    second: Estimate
    advantage: Estimate


def compare_predictors(
    first: FloatArray,
    second: FloatArray,
    target: FloatArray,
    groups: Groups,
    resampling: Resampling = DEFAULT,
) -> Comparison:
    """Compare |τ_b| of two measures with one target, resampling both together.

    Both τ come from the same networks and the same resamples. Their errors are shared, so the
    difference is known better than either τ, and overlapping intervals say little about it.

    Args:
        first: Shape (n,).
        second: Shape (n,).
        target: Shape (n,). Rows not finite in all three are left out and counted.
        groups: The trial and condition of each row.
        resampling: Resampling settings of the intervals.
    """
    columns = np.stack([first, second, target])
    kept = all_finite(columns.T)
    (one, other, gap), inner = columns[:, kept], groups.select(kept)
    taus = [kendall(measure, gap, inner, resampling) for measure in (one, other)]
    n, excluded = len(gap), int(np.sum(~kept))

    def missing(reason: str, value: float | None = None) -> Comparison:
        level, trials = resampling.level, inner.trials
        advantage = Estimate(value, None, None, level, n, trials, excluded, reason)
        return Comparison(taus[0], taus[1], advantage)

    if n < _FEWEST_ROWS:
        return missing(f"{counted(n, 'network')}; a comparison needs at least {_FEWEST_ROWS}")
    for tau in taus:
        if tau.value is None:
            return missing(tau.reason)
    found = [Compared.of(np.stack([x, gap]), inner).with_value() for x in (one, other)]
    value = abs(found[0][0]) - abs(found[1][0])
    if reason := why_no_interval(inner):
        return missing(reason, value)
    weights = inner.weights(resampling.resamples, resampling.seed)
    resampled = np.abs(found[0][1](weights)) - np.abs(found[1][1](weights))
    low, high = student_interval(value, resampled, inner.degrees_of_freedom, level=resampling.level)
    if low is None or high is None:
        return missing("undefined in too many resamples", value)
    ends = (max(-1.0, low), min(1.0, high))
    advantage = Estimate(value, *ends, resampling.level, n, inner.trials, excluded)
    return Comparison(taus[0], taus[1], advantage)


def compare_granulated(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    target: npt.ArrayLike,
    grid: Grid,
    seed: Sequence[object],
    seeds: Seeds = "averaged",
    variant: Variant = "a",
    resampling: Resampling = DEFAULT,
) -> Comparison:
    """Compare |Ψ| of two measures with one target, resampling both together.

    Over a grid, τ can be high because measure and target follow the same hyperparameter. Ψ
    compares networks that differ in only one respect (:func:`granulated_kendall`). If Ψ is near 0,
    |Ψ| jumps when the sign changes between resamples, and the interval errs on the wide side.

    Args:
        first: Shape (n,), one row per trial.
        second: Shape (n,).
        target: Shape (n,). Rows not finite in all three are left out and counted.
        grid: The hyperparameters of each row.
        seed: Shape (n,), the seed of each row, any labels.
        seeds: Whether seeds are averaged or one more axis.
        variant: The variant of τ.
        resampling: Resampling settings of the intervals.

    Returns:
        Ψ of each measure, and |Ψ| of the first minus |Ψ| of the second.

    Raises:
        ValueError: If lengths differ, or a condition has two rows of one seed.
    """
    columns = np.stack([as_floats(first), as_floats(second), as_floats(target)])
    if not columns.shape[1] == grid.rows == len(seed):
        raise ValueError(f"{columns.shape[1]} values, {grid.rows} grid rows, {len(seed)} seeds")
    kept = all_finite(columns.T)
    (one, other, gap), inner = columns[:, kept], grid.select(kept)
    labels = [label for label, keep in zip(seed, kept, strict=True) if keep]
    psis = [
        replace(
            granulated_kendall(measure, gap, inner, labels, seeds, variant, resampling).overall,
            n_excluded=int(np.sum(~kept)),
        )
        for measure in (one, other)
    ]
    bare = replace(psis[0], value=None, low=None, high=None, p_value=None)
    for psi in psis:
        if psi.value is None:
            return Comparison(psis[0], psis[1], replace(bare, reason=psi.reason))
    found = [
        granulated_resamples(np.stack([measure, gap]), inner, labels, seeds, variant, resampling)
        for measure in (one, other)
    ]
    advantage = np.abs(found[0][0]) - np.abs(found[1][0])
    bare = replace(bare, value=float(advantage[0]))
    if not all(psi.has_interval for psi in psis):
        reason = next(psi.reason for psi in psis if not psi.has_interval)
        return Comparison(psis[0], psis[1], replace(bare, reason=reason))
    freedom = found[0][1].resampled.degrees_of_freedom
    estimate = with_resamples(bare, advantage[1:], freedom, LINEAR)
    if estimate.low is not None and estimate.high is not None:
        estimate = replace(estimate, low=max(-1.0, estimate.low), high=min(1.0, estimate.high))
    return Comparison(psis[0], psis[1], estimate)
