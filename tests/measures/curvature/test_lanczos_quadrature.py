import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.measures.curvature.lanczos_quadrature import (
    Quadrature,
    lanczos_quadrature,
    smoothed_density,
)
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.measures.curvature.spectra import diagonal, signs, with_spectrum

VALUES = [9.0, 4.0, 4.0, *np.linspace(-1, 1.5, 57)]


def quadrature(A, start, iterations):
    (found,) = lanczos_quadrature(A, start[:, None], iterations)
    return found


def quadratures(matrix, probes=6, iterations=20):
    starts = [signs(len(matrix), 0, index) for index in range(probes)]
    return lanczos_quadrature(matrix, torch.stack(starts, dim=1), iterations)


def dense_density(values, grid, width):
    """Each eigenvalue once, as a Gaussian."""
    values = torch.as_tensor(values, dtype=torch.float64)
    gaussians = (-0.5 * ((grid[:, None] - values) / width) ** 2).exp()
    return gaussians.mean(1) / (width * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("iterations", [1, 2, 5, 20])
def test_moments_are_exact_below_twice_the_iterations(iterations):
    """vᵀ A^k v for every k < 2m, and not beyond."""
    matrix = with_spectrum(VALUES)
    start = signs(60, 3)
    found = quadrature(matrix, 7.0 * start, iterations)
    unit = start / 60**0.5
    power = unit.clone()
    for order in range(min(2 * iterations, 12)):
        assert found.moment(order) == pytest.approx((unit @ power).item(), rel=1e-10)
        power = matrix @ power
    if iterations < 5:
        assert found.moment(2 * iterations) != pytest.approx((unit @ power).item(), rel=1e-4)


@given(
    values=st.lists(st.sampled_from([-3.0, 0.0, 0.5, 1.0, 10.0]), min_size=1, max_size=12),
    seed=st.integers(0, 50),
)
def test_weights_form_a_distribution_within_the_spectrum(values, seed):
    found = quadrature(with_spectrum(values, seed), signs(len(values), seed), 8)
    assert (found.weights >= 0).all()
    assert found.weights.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert found.nodes.min() >= min(values) - 1e-10
    assert found.nodes.max() <= max(values) + 1e-10


def test_the_quadrature_stops_at_an_invariant_subspace():
    products = []

    def matvec(vector):
        products.append(1)
        return 3 * vector

    found = quadrature(SymmetricOperator(matvec, 40), signs(40, 0), 20)
    assert len(products) == 1
    assert (found.nodes.tolist(), found.weights.tolist()) == ([3.0], [1.0])


def test_the_density_equals_that_of_the_eigenvalues():
    """With a basis vector in each direction the mean over starts is exact."""
    values = [5.0, 2.0, 2.0, 0.0, 0.0, -1.0]
    matrix = with_spectrum(values)
    starts = torch.eye(6).double()
    found = smoothed_density([quadrature(matrix, start, 6) for start in starts])
    assert found.width == pytest.approx(0.01 * 6)
    expected = dense_density(values, found.grid, found.width)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10)


def test_the_density_of_a_large_matrix_is_within_its_standard_errors():
    matrix = with_spectrum(VALUES)
    found = smoothed_density(quadratures(matrix, probes=64, iterations=40), relative_width=0.03)
    expected = dense_density(VALUES, found.grid, found.width)
    far = (found.values - expected).abs() > 4 * found.standard_errors + 1e-3 * expected.max()
    assert far.sum() == 0
    assert found.standard_errors.max() < 0.2 * expected.max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [0.01, 0.1])
@pytest.mark.parametrize("spectrum", ["large and close", "graded", "network"])
def test_lost_orthogonality_adds_far_less_than_a_standard_error(spectrum, width, dtype):
    """Against quadratures whose vectors are orthogonalized against all others, in float64.

    The axes are the eigenvectors and the starts are signs, so that only the quadrature errs.
    """
    dimension, iterations = 1000, 32
    bulk = np.random.default_rng(0).standard_normal(dimension - 10)
    values = {
        "large and close": np.r_[10, 10 - 1e-4, 9, 8, 0.1 * np.linspace(-1, 1, dimension - 4)],
        "graded": 10.0 ** -np.linspace(0, 8, dimension),
        "network": np.r_[10 * 0.8 ** np.arange(10), 0.05 * bulk**3],
    }[spectrum]
    starts = torch.stack([signs(dimension, 0, index) for index in range(6)], dim=1)
    found = lanczos_quadrature(diagonal(values, dtype), starts, iterations)
    exact = [orthogonalized(values, start, iterations) for start in starts.T]
    for order in range(1, 5):
        moments, expected = ([q.moment(order) for q in each] for each in (found, exact))
        assert moments == pytest.approx(expected, rel=2e-5 if dtype == torch.float32 else 1e-10)
    one, other = (errors_of_density(each, values, width) for each in (found, exact))
    assert one < other + 0.3


def errors_of_density(quadratures, values, width):
    """Root mean square of the density's errors in standard errors, where it is not negligible."""
    found = smoothed_density(quadratures, relative_width=width)
    expected = dense_density(values, found.grid, found.width)
    errors = (found.values - expected) / found.standard_errors
    return errors[expected > 0.01 * expected.max()].square().mean().sqrt().item()


def orthogonalized(values, start, iterations):
    """The quadrature in exact arithmetic, nearly."""
    basis, diagonal, side = [start / torch.linalg.vector_norm(start)], [], []
    for _ in range(iterations):
        product = torch.from_numpy(values) * basis[-1]
        diagonal.append((basis[-1] @ product).item())
        vectors = torch.stack(basis)
        for _ in range(2):
            product = product - vectors.T @ (vectors @ product)
        side.append(torch.linalg.vector_norm(product).item())
        basis.append(product / side[-1])
    matrix = np.diag(diagonal) + np.diag(side[:-1], 1) + np.diag(side[:-1], -1)
    nodes, vectors = np.linalg.eigh(matrix)
    return Quadrature(torch.from_numpy(nodes), torch.from_numpy(vectors[0] ** 2), len(values))


@pytest.mark.parametrize("iterations", [5, 20])
def test_vectors_that_advance_together_are_those_that_advance_alone(iterations):
    matrix = with_spectrum(VALUES)
    starts = torch.stack([signs(60, 0, index) for index in range(4)], dim=1)
    together = lanczos_quadrature(matrix, starts, iterations)
    for start, found in zip(starts.T, together, strict=True):
        alone = quadrature(matrix, start, iterations)
        orders = range(1, 8)
        assert [found.moment(k) for k in orders] == pytest.approx(
            [alone.moment(k) for k in orders], rel=1e-10
        )


def test_a_start_in_an_invariant_subspace_ends_before_the_others():
    eigenvector = torch.linalg.eigh(with_spectrum(VALUES))[1][:, -1]
    starts = torch.stack([eigenvector, signs(60, 0)], dim=1)
    one, other = lanczos_quadrature(with_spectrum(VALUES), starts, 6)
    assert (one.nodes.tolist(), one.weights.tolist()) == (pytest.approx([9.0]), [1.0])
    assert len(other.nodes) == 6


def test_a_density_integrates_to_1_and_has_the_mean_eigenvalue():
    found = smoothed_density(quadratures(with_spectrum(VALUES)))
    spacing = (found.grid[1] - found.grid[0]).item()
    assert found.values.sum().item() * spacing == pytest.approx(1.0, abs=1e-5)
    mean = np.mean([q.moment(1) for q in quadratures(with_spectrum(VALUES))])
    assert (found.values @ found.grid).item() * spacing == pytest.approx(mean, abs=1e-4)


def test_negating_the_matrix_mirrors_the_density():
    matrix = with_spectrum(VALUES)
    plus, minus = (smoothed_density(quadratures(sign * matrix)) for sign in (1, -1))
    torch.testing.assert_close(minus.grid, -plus.grid.flip(0), rtol=0, atol=1e-10)
    torch.testing.assert_close(minus.values, plus.values.flip(0), rtol=1e-6, atol=1e-10)


def test_scaling_the_matrix_scales_the_density():
    matrix = with_spectrum(VALUES)
    one, scaled = (smoothed_density(quadratures(factor * matrix)) for factor in (1, 1e-6))
    # Rounding decides where the second of two copies of a node lies.
    torch.testing.assert_close(1e-6 * scaled.values, one.values, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("value", [0.0, 2.5, -1e-9])
def test_a_single_eigenvalue_has_no_density(value):
    assert smoothed_density(quadratures(value * torch.eye(30).double())) is None


def test_standard_errors_equal_the_spread_of_the_mean_over_all_probes():
    """Of vᵀ f(A) v / P over all signs v, for a matrix whose every f has an equal diagonal."""
    mean, offset = torch.tensor(5.0).double(), torch.tensor([3.0, 1.0, 0.5, 1.0]).double()
    matrix = torch.stack([offset.roll(k) for k in range(4)])  # a circulant
    starts = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 4)
    found = smoothed_density([quadrature(matrix, v, 4) for v in starts], relative_width=0.1)
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    assert eigenvalues.max() == pytest.approx(mean.item() + 0.5)
    densities = (-0.5 * ((found.grid[:, None] - eigenvalues) / found.width) ** 2).exp()
    densities /= found.width * math.sqrt(2 * math.pi)
    each = torch.einsum("sp,pk,gk,qk,sq->sg", starts, vectors, densities, vectors, starts) / 4
    torch.testing.assert_close(found.values, each.mean(0))
    spread = each.std(0, correction=0) / 4
    torch.testing.assert_close(found.standard_errors, spread, rtol=1e-6, atol=1e-9)


def test_a_nonfinite_product_is_an_error():
    with pytest.raises(FloatingPointError, match="is not finite"):
        quadrature(math.nan * torch.eye(10).double(), signs(10, 0), 5)
