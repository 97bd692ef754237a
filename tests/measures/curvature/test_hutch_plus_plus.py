import numpy as np
import pytest
import torch

from orchestrator.measures.curvature.hutch_plus_plus import hutch_plus_plus
from orchestrator.measures.curvature.hutchinson import hutchinson
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.binomial import assert_covers, with_simulations
from tests.measures.curvature.spectra import signs, with_spectrum


def estimates(matrix, products, runs):
    return [
        hutch_plus_plus(matrix, lambda i, seed=seed: signs(len(matrix), seed, i), products=products)
        for seed in range(runs)
    ]


def spread(estimates):
    return np.std([estimate.value for estimate in estimates])


FEW_LARGE = [*np.linspace(10, 2, 6), *np.linspace(0.2, -0.1, 54)]


@with_simulations(200, 2000)
def test_intervals_cover_the_trace(simulations):
    matrix, products = with_spectrum(FEW_LARGE), 60
    covered = [
        abs(found.value - matrix.trace()) <= 1.96 * found.standard_error
        for found in estimates(matrix, products, simulations)
    ]
    assert_covers(sum(covered), simulations)


def test_low_rank_matrices_are_exact():
    matrix = with_spectrum([5.0, 3.0, 1.0, *[0.0] * 37])
    found = hutch_plus_plus(matrix, lambda i: signs(40, 0, i), products=30)
    assert found.value == pytest.approx(9.0, abs=1e-10)
    assert found.standard_error < 1e-10
    assert found.probes == 30


def test_more_directions_than_dimensions_give_an_exact_trace():
    matrix = with_spectrum([5.0, 3.0, 1.0, -2.0])
    found = hutch_plus_plus(matrix, lambda i: torch.eye(4).double()[i % 4], products=40)
    assert found.value == pytest.approx(7.0, abs=1e-10)


def test_every_product_is_counted():
    matrix, products = with_spectrum(FEW_LARGE), []

    def matvec(vector):
        products.append(1)
        return matrix @ vector

    hutch_plus_plus(SymmetricOperator(matvec, 60), lambda i: signs(60, 0, i), products=32)
    assert len(products) == 32


def test_hutch_plus_plus_beats_hutchinson_only_with_many_products():
    """Why it isn't the default."""
    matrix = with_spectrum(FEW_LARGE)
    for products, better in ((60, True), (6, False)):
        plain = [
            hutchinson(matrix, lambda i, seed=seed: signs(60, seed, i), probes=products)
            for seed in range(100)
        ]
        plus = estimates(matrix, products, runs=100)
        assert (spread(plus) < spread(plain)) == better


def test_negating_the_matrix_negates_the_trace():
    matrix = with_spectrum(FEW_LARGE)
    plus, minus = (
        hutch_plus_plus(sign * matrix, lambda i: signs(60, 0, i), products=12) for sign in (1, -1)
    )
    assert minus.value == pytest.approx(-plus.value, rel=1e-9)
    assert minus.standard_error == pytest.approx(plus.standard_error, rel=1e-9)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_nonfinite_products_give_nan(broken):
    found = hutch_plus_plus(
        SymmetricOperator(lambda v: v * broken, 9), lambda i: signs(9, 0, i), products=9
    )
    assert np.isnan(found.value)


def test_a_matrix_in_single_precision_is_estimated_within_its_error():
    matrix = with_spectrum(FEW_LARGE).float()
    found = hutch_plus_plus(matrix, lambda i: signs(60, 0, i).float(), products=60)
    assert abs(found.value - matrix.trace().item()) < 4 * found.standard_error


def test_too_few_products_are_refused():
    with pytest.raises(ValueError, match="at least 6 products, got 5"):
        hutch_plus_plus(torch.eye(3), lambda i: signs(3, 0, i), products=5)
