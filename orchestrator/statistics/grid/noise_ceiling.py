"""Noise ceilings: the best possible result of any measure, given seeds and standard errors.

Networks of one condition differ by their seeds alone. A measure that is a function of the
hyperparameters cannot explain those differences. Its explained variance is therefore bounded by
the share of the variance between conditions: the intraclass correlation ICC(1) of a one-way layout
(Shrout and Fleiss 1979, "Intraclass correlations: uses in assessing rater reliability",
Psychological Bulletin 86, 420–428).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import stats

from orchestrator.statistics.intervals.bootstrap import LEVEL, as_floats
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.magnitude import back, power_of_two
from orchestrator.statistics.intervals.variance import level_codes

_LARGEST_RATIO = 1e100
"""Largest ratio of variances; beyond it, rounding leaves the share of the smaller unchanged."""


@dataclass(frozen=True)
class NoiseCeiling:
    """The largest R² and |r| of any function of the hyperparameters.

    Attributes:
        reliability: ICC(1), the share of the variance between conditions: the largest R². It is
            about unbiased, so it can be negative; the share is then indistinguishable from 0.
        correlation: Square root of the reliability, the largest |r|; 0 if negative.
        within: Standard deviation between the seeds of a condition.
        between: Standard deviation between conditions, without seed noise; 0 if negative.
        single: Number of conditions with one trial, left out for lack of information on seeds.
    """

    reliability: Estimate
    correlation: Estimate
    within: float | None
    between: float | None
    single: int


def noise_ceiling(
    values: npt.ArrayLike, condition: npt.ArrayLike, level: float = LEVEL
) -> NoiseCeiling:
    """Estimate the largest R² and |r| that seeds allow, with intervals from the F distribution.

    With mean squares MSB between and MSW within conditions of k trials,

        ICC(1) = (MSB − MSW) / (MSB + (k − 1) MSW).

    For unequal numbers of trials, k is (n − Σ k_i² / n) / (conditions − 1). The interval is exact
    for normal noise and equal numbers, and approximate otherwise.

    Args:
        values: Shape (n,), the gap (or a measure), one value per trained network. Non-finite
            values are left out and counted.
        condition: Shape (n,), the condition of each network, any labels.
        level: Confidence level.
    """
    column, labels = as_floats(values), np.asarray(condition)
    kept = all_finite(column)
    excluded = int(np.sum(~kept))
    codes = level_codes(labels[kept].tolist())
    sizes = np.bincount(codes) if len(codes) else np.zeros(0, dtype=np.int64)
    several = sizes[codes] > 1 if len(codes) else np.zeros(0, dtype=np.bool_)
    single = int(np.sum(sizes == 1))
    used, codes = column[kept][several], level_codes(codes[several].tolist())
    power = power_of_two(used)
    used = np.ldexp(used, -power)
    n, conditions = len(used), int(codes.max(initial=-1)) + 1
    excluded += int(np.sum(~several))

    def nothing(reason: str) -> NoiseCeiling:
        missing = Estimate(None, None, None, level, n, n, excluded, reason)
        return NoiseCeiling(missing, missing, None, None, single)

    if conditions < 2:
        return nothing("fewer than two conditions have several trials")
    within, between, size = _mean_squares(used, codes, conditions)
    if within + between <= 0:
        return nothing("nothing varies")
    value = (between - within) / (between + (size - 1) * within)
    low, high = 1.0, 1.0
    if within > 0:
        degrees = conditions - 1, n - conditions
        tail = (1 - level) / 2
        ends = (
            min(between / within, _LARGEST_RATIO) / stats.f.ppf(1 - tail, *degrees),
            min(between / within, _LARGEST_RATIO) / stats.f.ppf(tail, *degrees),
        )
        low, high = ((ratio - 1) / (ratio + size - 1) for ratio in ends)
    reliability = Estimate(float(value), float(low), float(high), level, n, n, excluded)
    root, least, most = (sqrt(max(0.0, part)) for part in (value, low, high))
    return NoiseCeiling(
        reliability,
        Estimate(root, least, most, level, n, n, excluded),
        back(sqrt(within), power),
        back(sqrt(max(0.0, (between - within) / size)), power),
        single,
    )


def measure_reliability(values: npt.ArrayLike, standard_errors: npt.ArrayLike) -> float | None:
    """Return the share of a measure's variance that is not estimation error: 1 − mean SE² / Var.

    Args:
        values: Shape (n,). Non-finite rows do not count.
        standard_errors: Shape (n,); NaN if a value is exact, ∞ if it is worthless.

    Returns:
        The share, in [0, 1]; None for fewer than two values, or equal ones.
    """
    column, errors = as_floats(values), as_floats(standard_errors)
    errors = np.where(np.isnan(errors), 0, errors)
    kept = all_finite(column)
    if np.sum(kept) < 2:
        return None
    power = power_of_two(column[kept])
    spread = float(np.std(np.ldexp(column[kept], -power), ddof=1))
    if spread == 0:
        return None
    # A ratio this large gives a share of 0 anyway, and its square is still finite.
    with np.errstate(over="ignore"):
        ratio = np.minimum(np.ldexp(errors[kept], -power) / spread, 1e9)
    return float(np.clip(1 - np.mean(ratio**2), 0, 1))


def attenuation(*reliabilities: float | None) -> float | None:
    """Return the largest |r| that two quantities of such reliabilities can show: √(rel_x rel_y).

    Spearman 1904, "The proof and measurement of association between two things". None if a
    reliability is unknown.
    """
    known = [one for one in reliabilities if one is not None]
    if len(known) < len(reliabilities):
        return None
    return sqrt(float(np.prod([max(0.0, one) for one in known])))


def disattenuated(
    r: Estimate, reliability_x: float | None, reliability_y: float | None
) -> Estimate:
    """Estimate r without the errors of either quantity: r / √(rel_x rel_y).

    Spearman 1904. Errors must be independent of each other and of the measured quantities. The
    value is an estimate and can lie beyond ±1, especially for small reliabilities; it is not
    clipped. Both ends of the interval are divided alike, which takes the reliabilities as known.

    Args:
        r: Observed Pearson's r.
        reliability_x: Share of the variance of x that is not error, from
            :func:`measure_reliability` or :func:`noise_ceiling`; None if unknown.
        reliability_y: The same for y.
    """
    limit = attenuation(reliability_x, reliability_y)
    if r.value is None:
        return r
    if limit is None or limit == 0:
        reason = "a reliability is unknown" if limit is None else "a reliability is not above 0"
        return replace(r, value=None, low=None, high=None, p_value=None, reason=reason)
    low, high = (None if end is None else end / limit for end in (r.low, r.high))
    return replace(r, value=r.value / limit, low=low, high=high)


def _mean_squares(
    values: FloatArray, codes: npt.NDArray[np.int64], conditions: int
) -> tuple[float, float, float]:
    """Return MSW, MSB and k."""
    sizes = np.bincount(codes)
    n = len(values)
    centred = values - values.mean()
    means = np.bincount(codes, weights=centred) / sizes
    within = float(np.sum((centred - means[codes]) ** 2)) / (n - conditions)
    between = float(np.sum(sizes * means**2)) / (conditions - 1)
    size = (n - float(np.sum(sizes**2)) / n) / (conditions - 1)
    return within, between, size
