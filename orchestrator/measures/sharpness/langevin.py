"""Samples from a Gaussian tilted by a potential, with diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, hypot, isfinite, nan, sqrt
from statistics import fmean, pvariance

import torch
from torch import Tensor

from orchestrator.measures.curvature.hutchinson import carried_by_few
from orchestrator.measures.scaling import unit_of

_FIRST_STEP, _WINDOW, _LEAST_ACCEPTANCE = 2.0, 10, 0.4
_LARGEST_SCORE, _FEWEST_EFFECTIVE = 4.0, 20.0
_SHORTEST_TIME = 0.5  # Not 1: estimates from independent samples lie on both sides of 1.

Potential = Callable[[Tensor], tuple[float, float, Tensor]]
"""v ↦ the observable at v, the potential Φ(v), and its gradient."""


@dataclass(frozen=True)
class ChainMean:
    """Mean of an observable over a chain.

    Attributes:
        mean: Mean over the samples after the burn-in.
        standard_error: Standard error of the mean, given the autocorrelation of the chain.
        problem: The diagnostic that failed; None if all passed.
    """

    mean: float
    standard_error: float
    problem: str | None


def tilted_mean(
    potential: Potential, start: Tensor, generator: torch.Generator, *, burn_in: int, samples: int
) -> ChainMean:
    """Estimate the mean of an observable under exp(−Φ(v)) N(v; 0, I) by Langevin sampling.

    The proposals are those of the preconditioned Crank-Nicolson Langevin method (Cotter,
    Roberts, Stuart, White, arXiv:1202.0709, section 4). For Φ = 0 they are exact at every step
    size and in every dimension, and at the first step size independent of the last point. Each
    proposal is accepted or rejected, so the step size does not bias the samples, unlike in
    stochastic gradient Langevin dynamics. The step size is halved after every 10 burn-in steps of
    which fewer than 4 were accepted.

    A chain is not trusted if fewer than a fifth of its proposals were accepted, if its two halves
    differ by more than four of their own standard errors, if it is worth fewer than 20
    independent samples (the standard error is then itself only a guess), or if a few of its steps
    dominate the mean.

    Args:
        potential: Observable, Φ and ∇Φ at a point. A Φ that is not finite counts as a density
            of 0.
        start: Starting point of the chain, flat.
        generator: Generator of the random numbers.
        burn_in: Steps before the samples.
        samples: Steps that count, more than 20.
    """
    point, step, accepted = start, _FIRST_STEP, 0
    here = potential(point)
    if not isfinite(here[1]):
        return ChainMean(nan, nan, "the loss is not finite at the start of the chain")
    found: list[float] = []
    for index in range(burn_in + samples):
        if index % _WINDOW == 0 and 0 < index <= burn_in:
            step /= 2 if accepted < _LEAST_ACCEPTANCE * _WINDOW else 1
        if index == burn_in or (index % _WINDOW == 0 and index < burn_in):
            accepted = 0
        noise = torch.randn(len(start), generator=generator, dtype=torch.float64).to(start)
        proposal = (2 - step) * point - 2 * step * here[2] + sqrt(8 * step) * noise
        proposal = proposal / (2 + step)
        there = potential(proposal)
        chance = torch.rand((), generator=generator, dtype=torch.float64).item()
        if isfinite(there[1]):
            gain = _rate(point, proposal, step, here) - _rate(proposal, point, step, there)
            if gain >= 0 or chance < exp(gain):
                point, here, accepted = proposal, there, accepted + 1
        if index >= burn_in:
            found.append(here[0])
    return _summary(found, accepted / samples)


def _rate(u: Tensor, v: Tensor, step: float, at: tuple[float, float, Tensor]) -> float:
    """Return ρ(u, v) of the acceptance probability min(1, exp(ρ(u, v) − ρ(v, u)))."""
    _, value, gradient = at
    slope = torch.dot(v - u, gradient) / 2 + step / 4 * torch.dot(u + v, gradient)
    return value + float(slope + step / 4 * torch.dot(gradient, gradient))


def _summary(found: list[float], acceptance: float) -> ChainMean:
    count, half = len(found), len(found) // 2
    (first, first_error), (last, last_error) = map(_mean_and_error, (found[:half], found[half:]))
    apart, noise = abs(first - last), hypot(first_error, last_error)
    effective = count / autocorrelation_time(found)
    problem = None
    if acceptance < _LEAST_ACCEPTANCE / 2:
        problem = f"{acceptance:.0%} of the proposals were accepted"
    elif apart > _LARGEST_SCORE * noise:
        problem = f"the halves of the chain differ by more than {_LARGEST_SCORE:g} standard errors"
    elif effective < _FEWEST_EFFECTIVE:
        problem = f"{count} steps are worth {effective:.1f} independent samples"
    elif carried_by_few(found):
        problem = f"a few of {count} steps dominate the mean; rarer ones may too"
    return ChainMean(*_mean_and_error(found), problem)


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    # The variance around the sample mean is too small by 1 − time / count, which is
    # 1 − 1 / count for independent samples.
    count, time = len(values), autocorrelation_time(values)
    return fmean(values), sqrt(pvariance(values) * time / max(count - time, 1))


def autocorrelation_time(values: list[float]) -> float:
    """Return the number of steps worth one independent sample: 1 + 2 Σ_k ρ_k, at least ½.

    The sum ends where the correlations of two successive lags no longer have a positive sum
    (Geyer 1992, initial positive sequence).
    """
    x = torch.tensor(values, dtype=torch.float64)
    x = x - x.mean()
    x = x / unit_of(x.tolist())
    count, variance = len(x), torch.dot(x, x).item()
    if variance == 0:
        return 1.0
    correlations = [torch.dot(x[: count - k], x[k:]).item() / variance for k in range(count // 2)]
    total = -1.0
    for even, odd in zip(correlations[::2], correlations[1::2], strict=False):
        if even + odd <= 0:
            break
        total += 2 * (even + odd)
    return max(_SHORTEST_TIME, total)
