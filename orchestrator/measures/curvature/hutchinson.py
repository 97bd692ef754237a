"""Hutchinson's estimate of a trace, stopped on its standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from statistics import fmean, stdev

import torch
from scipy.special import stdtrit
from torch import Tensor

from orchestrator.measures.scaling import unit_of

FEWEST_PROBES = 16
_OF_NORMAL = 1.959963984540054  # the normal distribution's 97.5 % quantile


@dataclass(frozen=True)
class TraceEstimate:
    """A trace, estimated.

    Attributes:
        value: Mean over the probes.
        standard_error: Of that mean, as :func:`stated_error` gives it.
        probes: How many were used.
    """

    value: float
    standard_error: float
    probes: int


@dataclass(frozen=True)
class EstimatedTrace:
    """A trace and its share in each parameter, estimated.

    Attributes:
        total: The trace.
        per_parameter: The trace of each parameter's diagonal block, by name, from the same
            random vectors; the values add up to that of ``total``.
    """

    total: TraceEstimate
    per_parameter: dict[str, TraceEstimate]


def hutchinson(
    matvec: Callable[[Tensor], Tensor],
    probe: Callable[[int], Tensor],
    *,
    probes: int = 256,
    relative_error: float = 0.0,
) -> TraceEstimate:
    """Estimate tr A = E vᵀAv from random vectors with independent entries ±1.

    It is unbiased, as E v vᵀ = I, with variance 2 (‖A‖_F² − Σ_i A_ii²) per probe: ±1 has the
    smallest of all distributions with independent entries, as v_i² = 1 leaves the diagonal no
    part in it (Hutchinson 1990, 10.1080/03610919008812866; Avron and Toledo 2011,
    10.1145/1944345.1944349).

    The standard error is looked at after 16, 32, 64 … probes only. Looking after each one would
    stop at the first that happens to look precise: too early, with intervals that miss the
    trace too often.

    Args:
        matvec: v ↦ A v, A symmetric.
        probe: The random vector of an index from 0; entries ±1.
        probes: Most probes to use, at least 2.
        relative_error: Stop at a standard error of this times the estimate; 0 uses all probes,
            unless they all agree.

    Raises:
        ValueError: If ``probes`` is below 2, which has no standard error.

    >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    >>> signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    >>> hutchinson(matrix.mv, lambda index: signs[index], probes=2).value
    5.0
    """

    def quadratic_form(index: int) -> float:
        vector = probe(index)
        return torch.dot(vector, matvec(vector)).item()

    return probe_mean(quadratic_form, probes=probes, relative_error=relative_error)


def probe_mean(
    sample: Callable[[int], float], *, probes: int = 256, relative_error: float = 0.0
) -> TraceEstimate:
    """Mean of independent samples, one per probe, stopped as ``hutchinson`` describes.

    Args:
        sample: The number that the probe of an index from 0 gives.
        probes: Most probes to use, at least 2.
        relative_error: Stop at a standard error of this times the mean; 0 uses all probes,
            unless they all agree.

    Returns:
        The mean, NaN from the first sample that is not finite.

    Raises:
        ValueError: If ``probes`` is below 2, which has no standard error.
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
    """Means of several numbers from the same probes.

    Args:
        sample: The numbers that the probe of an index from 0 gives, always as many.
        probes: Most probes to use, at least 2.
        relative_error: As for ``probe_mean``.
        deciding: How many of the first numbers must be precise enough to stop; all by default.

    Returns:
        One mean for each number, all NaN from the first probe where any is not finite.

    Raises:
        ValueError: If ``probes`` is below 2, which has no standard error.
    """
    if probes < 2:
        raise ValueError(f"a standard error needs at least 2 probes, got {probes}")
    found: list[Sequence[float]] = []
    look = FEWEST_PROBES
    for index in range(probes):
        found.append(sample(index))
        if not all(map(isfinite, found[-1])):
            return [TraceEstimate(nan, nan, len(found)) for _ in found[-1]]
        if len(found) == look:
            look *= 2
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
    """Of the mean of independent values, at least two, as :func:`stated_error` gives it."""
    return stated_error(stdev(values) / len(values) ** 0.5, len(values) - 1)


def stated_error(error: float, degrees_of_freedom: float) -> float:
    """The standard error as rows state it, so that ±1.96 of it is the 95 % interval.

    From few draws a standard error is itself uncertain, and the interval takes Student's
    quantile in place of 1.96. As rows don't have the number of draws, the error is multiplied
    by the ratio of the two: 6.5 for 2 draws, 1.09 for 16, 1.005 for 256.

    Args:
        error: Standard deviation of the mean, estimated from the draws.
        degrees_of_freedom: Of that estimate: draws − 1 where there is nothing more to it.

    >>> round(stated_error(1.0, 15), 3)
    1.087
    """
    return float(error * stdtrit(degrees_of_freedom, 0.975) / _OF_NORMAL)


def carried_by_few(values: Sequence[float]) -> bool:
    """Whether a few of the draws carry their mean, so that rarer ones may carry far more.

    The mean of a loss under large noise can be that of rare draws of a heavy tail: of those made
    neither mean nor spread then says anything. It shows in the number of equal draws that they
    are worth, (Σ |v|)² / Σ v², which is their number over 1 + the relative variance of |v|: a
    fifth or less is a warning that neither a normal (0.64) nor a χ² of one degree of freedom
    (0.33) gives.
    """
    unit = unit_of(values)
    sizes = [abs(value) / unit for value in values]
    squares = sum(size * size for size in sizes)
    return squares > 0 and sum(sizes) ** 2 < len(sizes) * squares / 5
