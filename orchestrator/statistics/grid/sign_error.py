"""Sign error: how often a measure orders two networks wrongly, in the worst case.

An environment is a pair of conditions that differ in exactly one hyperparameter. Its sign error
is the mean, over all pairs of a seed from each condition, of

    (1 − sign(Δmeasure) · sign(Δgap)) / 2,

which is 0 if the measure orders the gaps correctly, 1 if wrongly, and ½ for a tie. Pairs whose
gaps may differ only because the test set is finite count less or not at all. A measure is robust
if its sign error is small in every environment, so the largest error is decisive (Dziugaite,
Drouin, Neal, Rajkumar, Caballero, Wang, Mitliagkas and Roy, "In search of robust measures of
generalization", arXiv:2010.11924, sections 4 and 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from orchestrator.statistics.grid.environments import Environments
from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.intervals.bootstrap import LINEAR, Groups, as_floats, why_no_interval
from orchestrator.statistics.intervals.estimate import BoolArray, Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.resampling import DEFAULT, Resampling, with_resamples

FEWEST_EFFECTIVE = 12.0
QUANTILE = 0.9
_LEAST_WEIGHT = 0.5


@dataclass(frozen=True)
class Environment:
    """One pair of conditions.

    Attributes:
        axis: The hyperparameter that differs.
        levels: Its two levels.
        held: Level of every other hyperparameter, by name.
        error: Sign error in [0, 1].
        effective_size: (Σ w)² / Σ w² of the weights of its pairs of trials.
    """

    axis: str
    levels: tuple[object, object]
    held: dict[str, object]
    error: float
    effective_size: float


@dataclass(frozen=True)
class SignErrorSummary:
    """Sign errors over the environments of one hyperparameter, or of all.

    Attributes:
        axis: The hyperparameter that differs; "" for all of them.
        mean: Mean over environments, with an interval over trials.
        worst: The environment with the largest error; None without environments.
        quantile: 90 % quantile over environments; None without environments.
        environments: Number of environments with a sufficient effective size.
        dropped: Number of environments with a smaller one.
    """

    axis: str
    mean: Estimate
    worst: Environment | None
    quantile: float | None
    environments: int
    dropped: int


@dataclass(frozen=True)
class SignError:
    """Sign errors of one measure.

    Attributes:
        overall: Summary over all environments.
        axes: Summary for each hyperparameter with at least two levels.
        environments: Every environment with a sufficient effective size.
    """

    overall: SignErrorSummary
    axes: tuple[SignErrorSummary, ...]
    environments: tuple[Environment, ...]

    def cdf(self, points: npt.ArrayLike, axis: str = "") -> FloatArray:
        """Return the share of environments with an error of at most each of ``points``.

        Args:
            points: Shape (m,).
            axis: Hyperparameter whose environments are included; "" for all.

        Returns:
            Shape (m,); NaN without environments.
        """
        errors = np.sort([one.error for one in self.environments if axis in ("", one.axis)])
        at = as_floats(points)
        if not len(errors):
            return np.full(at.shape, np.nan)
        return np.searchsorted(errors, at, side="right") / len(errors)


def hoeffding_weight(difference: npt.ArrayLike, test_examples: int) -> FloatArray:
    """Return the confidence that two gaps differ, given their number of test examples.

    w = max(0, 1 − 2 exp(−2 n (Δ/2)²))², from Hoeffding's inequality for each of two errors that
    are means of n values in [0, 1]: with probability at least w, neither is off by Δ/2.

    Args:
        difference: Any shape, differences of two errors or of two error gaps, Δ.
        test_examples: n.

    Returns:
        The shape of ``difference``, in [0, 1].

    >>> hoeffding_weight([0.015, 0.02, 0.03], 10_000).round(2).tolist()
    [0.12, 0.53, 0.96]
    """
    half = as_floats(difference) / 2
    weight: FloatArray = np.maximum(0, 1 - 2 * np.exp(-2 * test_examples * half**2)) ** 2
    return weight


def sign_error(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    grid: Grid,
    test_examples: int | None,
    fewest_effective: float = FEWEST_EFFECTIVE,
    resampling: Resampling = DEFAULT,
) -> SignError:
    """Compute the sign errors of a measure over all environments.

    A pair of trials has weight (w − ½)₊ with the w of :func:`hoeffding_weight`. Environments with
    an effective size below ``fewest_effective`` are dropped and counted: k seeds give at most k²
    pairs, so the 12 of Dziugaite et al. needs at least four seeds. Weights depend on the gaps
    alone, so all measures have the same environments. With equal weights, environments of equal
    size and one hyperparameter, the mean is (1 − τ_a) / 2 of those pairs.

    The largest of many noisy errors is large even for a good measure, so compare it between
    measures on the same study, not with 0. It has no interval: resamples repeat seeds and would
    show even larger errors.

    Args:
        x: Shape (n,), the measure, one row per trial, signed so that it should grow with ``y``.
        y: Shape (n,), the target. Non-finite rows are left out and counted.
        grid: The hyperparameters of each row.
        test_examples: Number of examples behind the target's errors. None gives all pairs weight
            1, for targets that are not means of values in [0, 1], such as the loss gap.
        fewest_effective: Smallest effective size of an environment.
        resampling: Resampling settings for the interval of the mean: environments are fixed, and
            trials are resampled.

    Raises:
        ValueError: If lengths differ, ``test_examples`` is below 1, or ``fewest_effective`` is
            not above 0.
    """
    columns = np.stack([as_floats(x), as_floats(y)])
    if columns.shape[1] != grid.rows:
        raise ValueError(f"{columns.shape[1]} values, {grid.rows} grid rows")
    if test_examples is not None and test_examples < 1:
        raise ValueError(f"test_examples must be at least 1, got {test_examples}")
    if not fewest_effective > 0:
        raise ValueError(f"fewest_effective must be above 0, got {fewest_effective}")
    kept = all_finite(columns.T)
    inner, finite = grid.select(kept), columns[:, kept]
    order = inner.order(*finite.tolist())
    inner = inner.select(order)
    measure, gap = finite[:, order]
    all_of_them = Environments.of(inner)
    step = gap[all_of_them.trial] - gap[all_of_them.other]
    weight = np.ones(len(step))
    if test_examples is not None:
        weight = np.maximum(hoeffding_weight(step, test_examples) - _LEAST_WEIGHT, 0)
    order = np.sign(measure[all_of_them.trial] - measure[all_of_them.other])
    error = weight * (1 - order * np.sign(step)) / 2
    total, squares = all_of_them.sums(weight), all_of_them.sums(weight**2)
    effective = total**2 / np.where(squares > 0, squares, 1)
    large = effective >= fewest_effective * (1 - 1e-9)
    errors = np.full(len(all_of_them), np.nan)
    errors[large] = all_of_them.sums(error)[large] / total[large]
    groups = Groups.of(range(inner.rows), inner.condition.tolist())
    found = [
        Environment(
            axis=inner.axes[all_of_them.axis[place]],
            levels=_levels(inner, all_of_them, place),
            held=_held(inner, all_of_them, place),
            error=float(errors[place]),
            effective_size=float(effective[place]),
        )
        for place in np.flatnonzero(large).tolist()
    ]
    resampled = np.full((resampling.resamples, len(all_of_them)), np.nan)
    trials = groups.weights(resampling.resamples, resampling.seed)
    whole, wrong = all_of_them.weighted_sums((weight, error), np.flatnonzero(large), trials)
    resampled[:, large] = np.where(whole > 0, wrong / np.where(whole > 0, whole, 1), np.nan)
    excluded = int(np.sum(~kept))

    def summary(axis: str, members: BoolArray) -> SignErrorSummary:
        used = members & large
        return SignErrorSummary(
            axis=axis,
            mean=_mean(errors[used], resampled[:, used], groups, excluded, resampling),
            worst=max(
                (one for one in found if axis in ("", one.axis)),
                key=lambda one: one.error,
                default=None,
            ),
            quantile=float(np.quantile(errors[used], QUANTILE)) if used.any() else None,
            environments=int(np.sum(used)),
            dropped=int(np.sum(members & ~large)),
        )

    everything = np.ones(len(all_of_them), dtype=np.bool_)
    axes = tuple(summary(inner.axes[place], all_of_them.axis == place) for place in inner.varying)
    return SignError(summary("", everything), axes, tuple(found))


def _mean(
    errors: FloatArray,
    resampled: FloatArray,
    groups: Groups,
    excluded: int,
    resampling: Resampling,
) -> Estimate:
    bare = Estimate(None, None, None, resampling.level, len(errors), groups.trials, excluded)
    if not len(errors):
        return replace(
            bare, reason="no two conditions with enough trials differ in only one hyperparameter"
        )
    bare = replace(bare, value=float(np.mean(errors)))
    if reason := why_no_interval(groups):
        return replace(bare, reason=reason)
    # An environment without a pair in some resample is ignored in that resample.
    known = np.isfinite(resampled)
    counts = known.sum(axis=1)
    means = np.where(known, resampled, 0).sum(axis=1) / np.where(counts > 0, counts, 1)
    means = np.where(counts > 0, means, np.nan)
    found = with_resamples(bare, means, groups.degrees_of_freedom, LINEAR)
    if found.low is None or found.high is None:
        return found
    # A p-value would test for an error of 0, which is not of interest.
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high), p_value=None)


def _levels(grid: Grid, environments: Environments, place: int) -> tuple[object, object]:
    axis = grid.axes[environments.axis[place]]
    first, second = (
        grid.label(grid.conditions[condition[place]])[axis]
        for condition in (environments.first, environments.second)
    )
    return first, second


def _held(grid: Grid, environments: Environments, place: int) -> dict[str, object]:
    label = grid.label(grid.conditions[environments.first[place]])
    del label[grid.axes[environments.axis[place]]]
    return label
