"""Hutchinson's trace estimate, with a stopping rule on its standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from statistics import fmean, stdev

from scipy.special import stdtrit
from torch import Tensor

from orchestrator.measures.scaling import unit_of
from orchestrator.measures.symmetric_operator import SymmetricMatrix

FEWEST_PROBES = 16
_OF_NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class TraceEstimate:
    """An estimated trace.

    Attributes:
        value: Mean over the probes.
        standard_error: Standard error of that mean, as defined by :func:`stated_error`.
        probes: Number of probes used.
    """

    value: float
    standard_error: float
    probes: int


@dataclass(frozen=True)
class EstimatedTrace:
    """An estimated trace and its contribution from each parameter.

    Attributes:
        total: The trace.
        per_parameter: Trace of each parameter's diagonal block, by name, from the same random
            vectors; the values sum to that of ``total``.
    """

    total: TraceEstimate
    per_parameter: dict[str, TraceEstimate]


def hutchinson(
    A: SymmetricMatrix,
    probe: Callable[[int], Tensor],
    *,
    probes: int = 256,
    relative_error: float = 0.0,
) -> TraceEstimate:
    """Estimate tr A = E vᵀAv from random vectors with independent entries ±1.

    The estimate is unbiased because E v vᵀ = I. Its variance per probe is
    2 (‖A‖_F² − Σ_i A_ii²), the smallest among distributions with independent entries: because
    v_i² = 1, the diagonal does not contribute (Hutchinson 1990, 10.1080/03610919008812866; Avron
    and Toledo 2011, 10.1145/1944345.1944349).

    The standard error is checked only after 16, 32, 64 … probes. Checking after every probe would
    stop at the first one that appears precise by chance, so intervals would miss the trace too
    often.

    Args:
        A: The matrix or operator.
        probe: Function from an index (from 0) to a random vector with entries ±1.
        probes: Maximum number of probes, at least 2.
        relative_error: Stop when the standard error is at most this times the estimate; 0 uses
            all probes, unless they all agree.

    Raises:
        ValueError: If ``probes`` is below 2, too few for a standard error.

    >>> A = Tensor([[2.0, 1.0], [1.0, 3.0]])
    >>> signs = Tensor([[1.0, 1.0], [1.0, -1.0]])
    >>> hutchinson(A, lambda index: signs[index], probes=2).value
    5.0
    """

    def quadratic_form(index: int) -> float:
        v = probe(index)
        return (v @ (A @ v)).item()

    return probe_mean(quadratic_form, probes=probes, relative_error=relative_error)


def probe_mean(
    sample: Callable[[int], float], *, probes: int = 256, relative_error: float = 0.0
) -> TraceEstimate:
    """Return the mean of independent samples, one per probe, with ``hutchinson``'s stopping rule.

    Args:
        sample: Function from a probe's index (from 0) to its number.
        probes: Maximum number of probes, at least 2.
        relative_error: Stop when the standard error is at most this times the mean; 0 uses all
            probes, unless they all agree.

    Returns:
        The mean; NaN, without further samples, if a sample is not finite.

    Raises:
        ValueError: If ``probes`` is below 2, too few for a standard error.
    """
    (mean,) = probe_means(
        lambda index: (sample(index),), probes=probes, relative_error=relative_error
    )
    return mean


def probe_means(
    sample: Callable[[int], Sequence[float]],
    *,
    probes: int = 256,
    relative_error: float = 0.0,
    deciding: int | None = None,
) -> list[TraceEstimate]:
    """Return the means of several numbers from the same probes.

    Args:
        sample: Function from a probe's index (from 0) to a fixed count of numbers.
        probes: Maximum number of probes, at least 2.
        relative_error: As for ``probe_mean``.
        deciding: Count of leading numbers that must be precise enough to stop; all by default.

    Returns:
        One mean per number; all NaN, without further probes, if any number is not finite.

    Raises:
        ValueError: If ``probes`` is below 2, too few for a standard error.
    """
    if probes < 2:
        raise ValueError(f"a standard error needs at least 2 probes, got {probes}")
    found: list[Sequence[float]] = []
    next_check = FEWEST_PROBES
    for index in range(probes):
        found.append(sample(index))
        if not all(map(isfinite, found[-1])):
            return [TraceEstimate(nan, nan, len(found)) for _ in found[-1]]
        if len(found) == next_check:
            next_check *= 2
            estimates = _estimates(found)[:deciding]
            if all(e.standard_error <= relative_error * abs(e.value) for e in estimates):
                break
    return _estimates(found)


def _estimates(found: list[Sequence[float]]) -> list[TraceEstimate]:
    return [
        TraceEstimate(fmean(samples), standard_error(samples), len(found))
        for samples in zip(*found, strict=True)
    ]


def standard_error(values: Sequence[float]) -> float:
    """Return the :func:`stated_error` of the mean of at least two independent values."""
    return stated_error(stdev(values) / len(values) ** 0.5, len(values) - 1)


def stated_error(error: float, degrees_of_freedom: float) -> float:
    """Return the standard error for rows, scaled so that ±1.96 of it is the 95 % interval.

    With few draws the standard error is itself uncertain, and the interval needs Student's
    quantile instead of 1.96. Rows do not contain the number of draws, so the error is multiplied
    by the ratio of the two: 6.5 for 2 draws, 1.09 for 16, 1.005 for 256.

    Args:
        error: Standard deviation of the mean, estimated from the draws.
        degrees_of_freedom: Degrees of freedom of that estimate; draws − 1 in the simplest case.

    >>> round(stated_error(1.0, 15), 3)
    1.087
    """
    return float(error * stdtrit(degrees_of_freedom, 0.975) / _OF_NORMAL)


def carried_by_few(values: Sequence[float]) -> bool:
    """Whether a few draws dominate the mean, so that rarer draws may dominate it even more.

    The mean of a loss under large noise can be determined by rare draws from a heavy tail. Mean
    and spread of the observed draws are then uninformative. The effective number of draws,
    (Σ |v|)² / Σ v², detects this; it is their number over 1 + the relative variance of |v|. A
    fraction of a fifth or less is a warning that neither a normal distribution (0.64) nor a χ²
    with one degree of freedom (0.33) triggers.
    """
    unit = unit_of(values)
    sizes = [abs(value) / unit for value in values]
    squares = sum(size * size for size in sizes)
    return squares > 0 and sum(sizes) ** 2 < len(sizes) * squares / 5
