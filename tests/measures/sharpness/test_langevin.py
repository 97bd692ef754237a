from __future__ import annotations

from math import inf, isnan, nan, pi, sin, sqrt
from statistics import fmean

import pytest
import torch
from torch import Tensor

from orchestrator.measures.sharpness.langevin import (
    ChainMean,
    Potential,
    autocorrelation_time,
    tilted_mean,
)
from tests.binomial import assert_at_least, with_simulations

CURVATURES = torch.tensor([0.0, 0.5, 3.0, 20.0], dtype=torch.float64)
CENTER = torch.tensor([1.0, -1.0, 0.5, 0.2], dtype=torch.float64)


def bowl(v: Tensor) -> tuple[float, float, Tensor]:
    """Φ = ½ Σ h_i (v_i − m_i)², observed too."""
    gradient = CURVATURES * (v - CENTER)
    value = float((gradient * (v - CENTER)).sum()) / 2
    return value, value, gradient


def bowl_mean() -> float:
    """v_i ~ N(h m / (1 + h), 1 / (1 + h))."""
    h, m = CURVATURES, CENTER
    squares = 1 / (1 + h) + (m / (1 + h)) ** 2
    return float((h * squares).sum()) / 2


def chain(potential: Potential, seed: int = 0, burn_in: int = 50, samples: int = 200) -> ChainMean:
    generator = torch.Generator().manual_seed(seed)
    start = torch.zeros(4, dtype=torch.float64)
    return tilted_mean(potential, start, generator, burn_in=burn_in, samples=samples)


@with_simulations(20, 1000)
def test_the_interval_covers_the_mean_of_a_tilted_gaussian(simulations: int) -> None:
    chains = [chain(bowl, seed, samples=500) for seed in range(simulations)]
    trusted = [found for found in chains if found.problem is None]
    assert_at_least(0.95, len(trusted), simulations, "share of trusted chains")
    inside = sum(abs(found.mean - bowl_mean()) <= 2 * found.standard_error for found in trusted)
    assert_at_least(0.95, inside, len(trusted), "coverage")
    overall = fmean(found.mean for found in chains)
    error = fmean(found.standard_error for found in chains) / sqrt(simulations)
    assert abs(overall - bowl_mean()) < 4 * error


def test_without_a_potential_the_samples_are_independent() -> None:
    """Every proposal is accepted: the mean of ‖v‖² / 4 is 1."""
    found = chain(lambda v: (float(v @ v) / 4, 0.0, 0 * v), samples=2000)
    assert abs(found.mean - 1) < 3 * found.standard_error
    assert found.standard_error == pytest.approx(sqrt(0.5 / 2000), rel=0.2)


def test_problems_of_a_chain_are_named() -> None:
    def wall(v: Tensor) -> tuple[float, float, Tensor]:
        return float(v[0]), 0.0 if not v.any() else nan, 0 * v

    stuck = chain(wall)
    assert stuck.problem == "0% of the proposals were accepted"
    lost = chain(lambda v: (0.0, inf, 0 * v))
    assert isnan(lost.mean)
    assert lost.problem == "the loss is not finite at the start of the chain"
    calls: list[int] = []

    def slow(v: Tensor) -> tuple[float, float, Tensor]:
        calls.append(1)
        return sin(len(calls) / 100 * 2 * pi), 0.0, 0 * v

    assert "independent samples" in str(chain(slow).problem)
    calls.clear()

    def jumping(v: Tensor) -> tuple[float, float, Tensor]:
        calls.append(1)
        return float(v[0]) + 0.6 * (len(calls) > 1050), 0.0, 0 * v

    jumped = chain(jumping, samples=2000)
    assert jumped.problem == "the halves of the chain differ by more than 4 standard errors"


def test_autocorrelation_times_of_known_processes_are_recovered() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20000, generator=generator, dtype=torch.float64).tolist()
    assert autocorrelation_time(noise) == pytest.approx(1, abs=0.1)
    values, last = [], 0.0
    for draw in noise:
        last = 0.8 * last + draw
        values.append(last)
    assert autocorrelation_time(values) == pytest.approx(1.8 / 0.2, rel=0.15)
    assert autocorrelation_time([2.0] * 30) == 1
