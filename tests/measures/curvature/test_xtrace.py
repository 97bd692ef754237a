import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.measures.curvature.hutch_plus_plus import hutch_plus_plus
from orchestrator.measures.curvature.hutchinson import stated_error
from orchestrator.measures.curvature.xtrace import xtrace
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.binomial import assert_covers, with_simulations
from tests.measures.curvature.spectra import signs, with_spectrum

FEW_LARGE = [*np.linspace(10, 2, 6), *np.linspace(0.2, -0.1, 54)]
POWER_LAW = 1 / np.arange(1.0, 101.0)
FLAT = np.linspace(1, 2, 60)


def gaussian(n, seed=0, dtype=torch.float64):
    """Probes, as a function of their number."""

    def probe(index):
        generator = torch.Generator().manual_seed(1000 * seed + index)
        return torch.randn(n, generator=generator, dtype=torch.float64).to(dtype)

    return probe


def left_out(A, omega, *places):
    """tr_i of the first place, by definition: with the sketch of all probes but those places."""
    n = len(A)
    others = [place for place in range(omega.shape[1]) if place not in places]
    Q, _ = torch.linalg.qr(A @ omega[:, others])
    rest = omega[:, places[0]] - Q @ (Q.T @ omega[:, places[0]])
    rest *= (n - len(others)) ** 0.5 / rest.norm()
    return ((Q.T @ A @ Q).trace() + rest @ A @ rest).item()


@given(
    values=st.lists(st.sampled_from([-3.0, 0.5, 1.0, 1.5, 10.0]), min_size=8, max_size=14),
    m=st.integers(3, 7),
    seed=st.integers(0, 100),
)
def test_equals_the_definition(values, m, seed):
    """The mean over probes left out one by one; the error from those left out two by two."""
    A, probe = with_spectrum(values, seed), gaussian(len(values), seed)
    omega = torch.stack([probe(index) for index in range(m)], 1)
    found = xtrace(A, probe, products=2 * m)
    single = np.array([left_out(A, omega, i) for i in range(m)])
    assert found.value == pytest.approx(single.mean(), rel=1e-7, abs=1e-7)
    changes = np.array(
        [[i != j and single[i] - left_out(A, omega, i, j) for j in range(m)] for i in range(m)]
    )
    covariance = (changes * changes.T).sum() / (m * (m - 1))
    variance = single.var(ddof=1) / m + max(covariance, 0)
    expected = stated_error(variance**0.5, m - 1)
    assert found.standard_error == pytest.approx(expected, rel=1e-5, abs=1e-6)


@with_simulations(200, 2000)
@pytest.mark.parametrize(
    ("values", "products"),
    [(FEW_LARGE, 30), (POWER_LAW, 30), (FLAT, 16)],
    ids=["few large", "power law", "flat"],
)
def test_intervals_cover_the_trace(values, products, simulations):
    A = with_spectrum(values)
    covered = 0
    for seed in range(simulations):
        found = xtrace(A, gaussian(len(A), seed), products=products)
        covered += abs(found.value - A.trace().item()) <= 1.96 * found.standard_error
    assert_covers(covered, simulations)


@pytest.mark.parametrize("rank", [1, 2, 5, 8])
def test_more_probes_than_the_rank_are_exact(rank):
    values = [5.0, -3.0, 1.0, 0.1, 4.0, 7.0, 2.0, -6.0][:rank]
    A = with_spectrum([*values, *[0.0] * (40 - rank)])
    for m in range(max(rank + 1, 3), 15):
        found = xtrace(A, gaussian(40), products=2 * m)
        assert found.value == pytest.approx(sum(values), abs=1e-12)
        assert found.standard_error < 1e-9
        assert found.probes == 2 * m


def test_multiples_of_the_identity_and_zero_are_exact():
    for factor in (0.0, -7.0):
        found = xtrace(factor * torch.eye(30).double(), gaussian(30), products=10)
        assert found.value == pytest.approx(30 * factor, rel=1e-13)
        assert found.standard_error <= 1e-12


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_as_many_probes_as_dimensions_are_exact(n):
    A = with_spectrum(np.linspace(-1, 3, n))
    found = xtrace(A, gaussian(n), products=20)
    assert found.value == pytest.approx(A.trace().item(), abs=1e-12)
    assert (found.standard_error, found.probes) == (0.0, 2 * n)


def test_counts_every_product():
    A, products = with_spectrum(FEW_LARGE), []
    operator = SymmetricOperator(lambda v: products.append(1) or A @ v, 60)
    found = xtrace(operator, gaussian(60), products=33)
    assert len(products) == found.probes == 32
    assert found == xtrace(operator, gaussian(60), products=32)


def test_beats_hutch_plus_plus():
    A = with_spectrum(FEW_LARGE)
    by_xtrace, by_hutch_plus_plus = (
        np.std([estimate(seed).value for seed in range(100)])
        for estimate in (
            lambda seed: xtrace(A, gaussian(60, seed), products=18),
            lambda seed: hutch_plus_plus(A, lambda i: signs(60, seed, i), products=18),
        )
    )
    assert by_xtrace < 0.5 * by_hutch_plus_plus


@pytest.mark.parametrize("factor", [-1.0, 2.0**-1000, 2.0**1000])
def test_it_scales_with_the_matrix(factor):
    A = with_spectrum(FEW_LARGE)
    one, other = (xtrace(B, gaussian(60), products=20) for B in (A, factor * A))
    assert other.value == pytest.approx(factor * one.value, rel=1e-9)
    assert other.standard_error == pytest.approx(abs(factor) * one.standard_error, rel=1e-9)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_not_finite_ends_as_nan(broken):
    found = xtrace(broken * torch.eye(9).double(), gaussian(9), products=6)
    assert np.isnan(found.value)
    assert np.isnan(found.standard_error)


def test_single_precision():
    A = with_spectrum(FEW_LARGE)
    found = xtrace(A.float(), gaussian(60, dtype=torch.float32), products=30)
    double = xtrace(A, gaussian(60), products=30)
    assert found.value == pytest.approx(double.value, rel=1e-5)
    assert found.standard_error == pytest.approx(double.standard_error, rel=1e-3)


def test_too_few_products_are_an_error():
    with pytest.raises(ValueError, match="at least 6 products, got 5"):
        xtrace(torch.eye(3), gaussian(3), products=5)
