from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature import hessian_krylov
from orchestrator.measures.curvature.confirmation import confirmed, is_confirmed
from orchestrator.measures.curvature.hessian_krylov import extreme_eigenvalues
from orchestrator.measures.curvature.hessian_spectral_density import spectral_quadratures
from orchestrator.measures.curvature.krylov import Tridiagonalization
from orchestrator.measures.curvature.lanczos import Extremes, lanczos
from orchestrator.measures.symmetric_operator import SymmetricOperator
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions
from tests.binomial import assert_at_least, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, mlp, random_dataset
from tests.measures.curvature.learned import learned_context
from tests.measures.curvature.spectra import gaussian, with_spectrum
from tests.measures.references import dense_hessian

VALUES = np.r_[5.0, 4.0, 3.5, 3.0, np.linspace(-0.1, 1, 194), -0.3, -0.5]


def rough_and_confirmed(matrix, rough, seed=0, *, tolerance=1e-3, top=3):
    size = len(matrix)
    space = Tridiagonalization(rough, start=gaussian(size, seed))
    starts = partial(gaussian, size, seed + 1)
    found = lanczos(rough, space, starts, top=top, tolerance=tolerance)
    return found, confirmed(matrix, rough, found, smallest=True, tolerance=tolerance)


@with_simulations(20, 1000)
def test_values_in_double_precision_are_as_close_as_stated(simulations):
    """Where the approximation is far coarser than float32, so that its error dominates."""
    matrix, hits, kept = with_spectrum(VALUES), 0, 0
    truth = np.r_[np.sort(VALUES)[::-1][:3], VALUES.min()]
    for seed in range(simulations):
        noise = torch.randn(200, 200, generator=torch.Generator().manual_seed(seed)).double()
        # Rounding errors are relative to A v, so they vanish where A does.
        change = matrix @ ((noise + noise.T) / 200) @ matrix * 1e-5
        rough, found = rough_and_confirmed(matrix, matrix + change, seed)
        below = truth - found.values.numpy()
        below[-1] *= -1
        assert (below >= -1e-9).all()
        hits += bool((below <= found.errors.numpy() + 1e-12).all())
        kept += is_confirmed(found, rough)
    assert_at_least(0.98, hits, simulations)
    assert kept == simulations


def test_an_approximation_too_coarse_for_the_tolerance_is_not_confirmed():
    matrix = with_spectrum(VALUES)
    coarse = with_spectrum(VALUES, seed=1)
    rough, found = rough_and_confirmed(matrix, 0.5 * (matrix + coarse))
    assert rough.converged.all()
    assert not is_confirmed(found, rough)
    unconverged = Extremes(rough.values, rough.errors + 1, rough.limits, 0.0, 1, rough.vectors)
    again = confirmed(matrix, matrix, unconverged, smallest=True, tolerance=1e-3)
    assert is_confirmed(again, unconverged)  # float64 would not converge either


def test_products_that_are_not_finite_or_missing_vectors_are_errors():
    matrix = with_spectrum(VALUES)
    rough, _ = rough_and_confirmed(matrix, matrix)
    broken = SymmetricOperator(lambda v: v * torch.nan, 200)
    with pytest.raises(FloatingPointError, match="Ritz vector is not finite"):
        confirmed(broken, matrix, rough, smallest=True, tolerance=1e-3)
    without = Extremes(rough.values, rough.errors, rough.limits, 0.0, 1)
    with pytest.raises(ValueError, match="without Ritz vectors"):
        confirmed(matrix, matrix, without, smallest=True, tolerance=1e-3)


def options_of(**options):
    return HessianSpectrumOptions(name="hessian_spectrum", **options)


def products_of(context):
    """Counts the products in each precision."""
    counts = {torch.float32: 0, torch.float64: 0}
    operator = context.hessian_in

    def counted(dtype):
        inner = operator(dtype)

        def product(vector):
            counts[dtype] += 1
            return inner @ vector

        return SymmetricOperator(product, inner.size, dtype)

    context.hessian_in = counted
    return counts


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("seed", range(3))
def test_single_precision_gives_the_dense_eigenvalues(monkeypatch, activation, seed):
    monkeypatch.setattr(hessian_krylov, "SINGLE_FROM", 0)
    context = learned_context(activation, seed=seed)
    exact = torch.linalg.eigvalsh(dense_hessian(context)).flip(0)
    counts = products_of(context)
    found = extreme_eigenvalues(context, options_of(top=3, iterations=70, tolerance=1e-2))
    assert counts[torch.float64] == 0
    assert counts[torch.float32] >= found.products
    assert found.converged.all()
    truth = torch.cat([exact[:3], exact[-1:]])
    assert ((found.values - truth).abs() <= found.errors).all()
    assert found.values.tolist() == pytest.approx(truth.tolist(), rel=1e-2)


def test_a_tolerance_beyond_single_precision_is_met_in_double_precision(monkeypatch):
    monkeypatch.setattr(hessian_krylov, "SINGLE_FROM", 0)
    context = learned_context()
    exact = torch.linalg.eigvalsh(dense_hessian(context)).flip(0)
    counts = products_of(context)
    found = extreme_eigenvalues(context, options_of(top=2, iterations=70, tolerance=1e-9))
    assert counts[torch.float64] > 20
    assert found.values[:2].tolist() == pytest.approx(exact[:2].tolist(), rel=1e-8)


def ill_scaled():
    """Curvature that float32 rounds to zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = mlp(6, 8, 3)
    with torch.no_grad():
        network[-1].weight.mul_(0)
        network[-1].bias.copy_(torch.tensor([0.0, 120.0, 0.0]))
    data = random_dataset((6,), 30, 3)
    data.train_y.fill_(1)
    return MeasureContext(network, data, CROSS_ENTROPY)


def test_curvature_below_the_range_of_single_precision_is_found_in_double(monkeypatch):
    expected = extreme_eigenvalues(ill_scaled(), options_of(top=1, iterations=40, tolerance=1e-6))
    quadratures = spectral_quadratures(ill_scaled(), probes=3, iterations=8)
    monkeypatch.setattr(hessian_krylov, "SINGLE_FROM", 0)
    found = extreme_eigenvalues(ill_scaled(), options_of(top=1, iterations=40, tolerance=1e-6))
    assert 0 < found.values[0] < 1e-45
    assert torch.equal(found.values, expected.values)
    again = spectral_quadratures(ill_scaled(), probes=3, iterations=8)
    for one, other in zip(again, quadratures, strict=True):
        assert torch.equal(one.nodes, other.nodes)


def test_densities_in_single_precision_are_within_their_errors(monkeypatch):
    double = spectral_quadratures(case("cnn").context(), probes=4, iterations=20)
    monkeypatch.setattr(hessian_krylov, "SINGLE_FROM", 0)
    single = spectral_quadratures(case("cnn").context(), probes=4, iterations=20)
    for one, other in zip(single, double, strict=True):
        assert not torch.equal(one.nodes, other.nodes)
        for order in range(1, 5):
            assert one.moment(order) == pytest.approx(other.moment(order), rel=1e-4)
