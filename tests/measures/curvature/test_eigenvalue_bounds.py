import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.measures.curvature.eigenvalue_bounds import above, beyond
from orchestrator.measures.curvature.krylov import Tridiagonalization
from tests.binomial import assert_at_least, with_simulations
from tests.measures.curvature.spectra import diagonal, gaussian


def test_the_distance_is_where_the_lanczos_polynomial_reaches_its_bound():
    """p_m by its three-term recurrence."""
    values = np.r_[np.linspace(0, 1, 200), 1.3]
    space = Tridiagonalization(diagonal(values), start=gaussian(201, 0))
    found = space.first(9)
    ritz = found.ritz()[0]
    distance = beyond(found, ritz, 201, risk=0.01)
    point, before, p = ritz[0].item() + distance, 0.0, 1.0
    for alpha, beta, last in zip(found.diagonal, found.betas, [0.0, *found.betas], strict=False):
        before, p = p, ((point - alpha) * p - last * before) / beta
    assert p == pytest.approx(1 / (0.01 * math.sqrt(math.pi / 402)), rel=1e-3)


@with_simulations(100, 10_000)
@pytest.mark.parametrize("iterations", [1, 3, 6, 12])
def test_the_largest_eigenvalue_is_beyond_the_bound_as_rarely_as_stated(iterations, simulations):
    """Far from convergence as well as near it, and after any number of iterations."""
    values = np.r_[np.random.default_rng(0).beta(2, 5, 300), 0.9, 0.95]
    risk, hits = 0.05, 0
    for seed in range(simulations):
        space = Tridiagonalization(diagonal(values), start=gaussian(302, seed))
        found = space.first(iterations)
        ritz = found.ritz()[0]
        hits += ritz[0].item() + beyond(found, ritz, 302, risk=risk) >= values.max()
    assert_at_least(1 - risk, hits, simulations)


def test_the_stated_risk_is_not_much_larger_than_the_real_one():
    """In one iteration the bound depends on one number, which has its exact distribution."""
    values, risk = np.r_[np.zeros(400), 1.0], 0.2
    misses = 0
    for seed in range(300):
        found = Tridiagonalization(diagonal(values), start=gaussian(401, seed)).first(1)
        ritz = found.ritz()[0]
        misses += ritz[0].item() + beyond(found, ritz, 401, risk=risk) < 1
    assert misses / 300 > risk / 2


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1.0, 1e250])
def test_bounds_scale_with_the_matrix(scale):
    values = np.r_[np.linspace(0, 1, 50), 1.3]
    distances = []
    for factor in (1.0, scale):
        found = Tridiagonalization(diagonal(factor * values), start=gaussian(51, 0)).first(6)
        distances.append(beyond(found, found.ritz()[0], 51, risk=0.01) / factor)
    assert distances[1] == pytest.approx(distances[0], rel=1e-4)


def test_an_invariant_space_leaves_nothing_beyond():
    found = Tridiagonalization(diagonal(np.r_[np.ones(20), 2.0]), start=gaussian(21, 0)).first(9)
    assert found.size == 2
    assert beyond(found, found.ritz()[0], 21, risk=0.01) == 0


@given(a=st.floats(-5, 5), b=st.floats(-5, 5), c=st.floats(0, 5))
def test_above_is_the_largest_eigenvalue_of_two_by_two_matrices(a, b, c):
    largest = torch.linalg.eigvalsh(torch.tensor([[a, c], [c, b]], dtype=torch.float64))[1].item()
    assert a + above(a, b, c) == pytest.approx(largest, abs=1e-12)
    assert above(a, -math.inf, c) == 0
