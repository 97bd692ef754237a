"""How well any measure could do at best: what seeds and standard errors leave to be explained.

Networks of one condition differ by their seeds alone. A measure that is a function of the
hyperparameters cannot explain those differences, so what share of the variance lies between
conditions bounds what it can explain: the intraclass correlation ICC(1) of a one-way layout
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
"""Of variances: the share of the smaller is no other number beyond."""


@dataclass(frozen=True)
class NoiseCeiling:
    """What a function of the hyperparameters can explain.

    Attributes:
        reliability: ICC(1), the share of the variance between conditions: the largest R². It is
            unbiased about, and so can be negative: then the share is indistinguishable from 0.
        correlation: √ of it, the largest |r|; 0 where it is negative.
        within: Standard deviation between the seeds of a condition.
        between: Standard deviation between conditions, noise taken off; 0 where it is negative.
        single: Conditions with one trial, which say nothing about seeds and are left out.
    """

    reliability: Estimate
    correlation: Estimate
    within: float | None
    between: float | None
    single: int


def noise_ceiling(
    values: npt.ArrayLike, condition: npt.ArrayLike, level: float = LEVEL
) -> NoiseCeiling:
    """Largest R² and |r| that seeds allow, with intervals from the F distribution.

    With mean squares MSB between and MSW within conditions of k trials,

        ICC(1) = (MSB − MSW) / (MSB + (k − 1) MSW).

    For unequal numbers of trials k is (n − Σ k_i² / n) / (conditions − 1), and the interval, exact
    for normal noise and equal numbers, is then approximate.

    Args:
        values: Shape (n,), the gap (or a measure) of one trained network each. What is not
            finite is left out and counted.
        condition: Shape (n,), its condition, any labels.
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
    """Share of a measure's variance that is not its own estimation error: 1 − mean SE² / Var.

    Args:
        values: Shape (n,). Rows that are not finite don't count.
        standard_errors: Shape (n,); NaN where a value is exact, ∞ where it is worth nothing.

    Returns:
        The share, at most 1 and at least 0; None for fewer than two values, or equal ones.
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
    # A ratio this large leaves a share of 0 anyway, and its square still is a number.
    with np.errstate(over="ignore"):
        ratio = np.minimum(np.ldexp(errors[kept], -power) / spread, 1e9)
    return float(np.clip(1 - np.mean(ratio**2), 0, 1))


def attenuation(*reliabilities: float | None) -> float | None:
    """Largest |r| that two quantities of such reliabilities can show: √(rel_x rel_y).

    Spearman 1904, "The proof and measurement of association between two things". None where a
    reliability is unknown.
    """
    known = [one for one in reliabilities if one is not None]
    if len(known) < len(reliabilities):
        return None
    return sqrt(float(np.prod([max(0.0, one) for one in known])))


def disattenuated(
    r: Estimate, reliability_x: float | None, reliability_y: float | None
) -> Estimate:
    """What r would be without the errors of either quantity: r / √(rel_x rel_y).

    Spearman 1904. Errors have to be independent of each other and of what is measured. The value
    is an estimate and can lie beyond ±1, most of all where reliabilities are small; it is reported
    as it is. Both ends of the interval are divided alike: it takes the reliabilities as known.

    Args:
        r: Pearson's r as observed.
        reliability_x: Share of the variance of x that is not error, of
            :func:`measure_reliability` or :func:`noise_ceiling`; None if unknown.
        reliability_y: That of y.
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
    """MSW, MSB and k."""
    sizes = np.bincount(codes)
    n = len(values)
    centred = values - values.mean()
    means = np.bincount(codes, weights=centred) / sizes
    within = float(np.sum((centred - means[codes]) ** 2)) / (n - conditions)
    between = float(np.sum(sizes * means**2)) / (conditions - 1)
    size = (n - float(np.sum(sizes**2)) / n) / (conditions - 1)
    return within, between, size
