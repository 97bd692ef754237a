import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.measures.curvature.krylov import Tridiagonalization
from orchestrator.measures.curvature.lanczos import lanczos
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.binomial import assert_at_least, with_simulations
from tests.measures.curvature.spectra import with_spectrum


def space_of(matrix, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Tridiagonalization(matrix, generator=generator)


def run(matrix, seed=0, **options):
    return lanczos(space_of(matrix, seed), **options)


def decaying(dimension):
    """Ten separate large eigenvalues, a bulk around zero, and a few negative."""
    large = [10.0 * 0.8**k for k in range(10)]
    return large + list(np.linspace(-0.2, 0.5, dimension - 12)) + [-1.5, -3.0]


def test_the_largest_and_the_smallest_eigenvalue_of_a_large_matrix_converge():
    values = decaying(300)
    found = run(with_spectrum(values), top=5, tolerance=1e-8)
    assert found.iterations < 100
    assert not found.complete
    assert found.converged[:5].all()
    assert found.converged[-1]
    assert found.values[:5] == pytest.approx(values[:5], abs=1e-10)
    assert found.values[-1] == pytest.approx(-3.0, abs=1e-10)


def test_negating_the_matrix_mirrors_the_spectrum():
    matrix = with_spectrum(decaying(200))
    up, down = (run(sign * matrix, top=1, tolerance=1e-8) for sign in (1, -1))
    assert down.values[0].item() == pytest.approx(3.0, abs=1e-9)
    assert down.values[-1].item() == pytest.approx(-up.values[0].item(), abs=1e-9)


def test_the_largest_eigenvalue_is_the_largest_by_value_not_magnitude():
    values = [1.0, 0.5, *np.linspace(-1, 0.2, 197), -5.0]
    found = run(with_spectrum(values), top=2, tolerance=1e-8)
    assert found.values[:2] == pytest.approx([1.0, 0.5], abs=1e-8)
    assert found.values[-1].item() == pytest.approx(-5.0, abs=1e-9)


def test_residuals_bound_the_errors_of_ritz_values():
    """Against the definition: every Ritz value is within its residual of an eigenvalue."""
    values = np.array(decaying(150))
    found = run(with_spectrum(values), top=3, iterations=25, tolerance=1e-12)
    nearest = np.abs(found.values.numpy()[:, None] - values).min(1)
    assert (nearest <= found.residuals.numpy() + 1e-12).all()
    assert not found.converged.all()


def test_unconverged_values_are_marked_and_are_bounds():
    values = decaying(300)
    found = run(with_spectrum(values), top=5, iterations=8, tolerance=1e-6)
    assert found.iterations == 8
    assert not found.converged[4]
    assert (found.values[:5].numpy() <= np.array(values[:5]) + 1e-12).all()
    assert found.values[-1] >= -3.0 - 1e-12
    assert not found.complete


def small_negative(dimension):
    """Large eigenvalues over a bulk, and negative ones of a thousandth of the largest."""
    large = [10.0 * 0.8**k for k in range(10)]
    negative = [-0.01 * 0.8**k for k in range(12)]
    return large + list(np.linspace(0.0, 0.02, dimension - 22)) + negative


def test_a_small_smallest_eigenvalue_is_judged_by_its_own_magnitude():
    """A residual far below the largest eigenvalue may be as large as the smallest."""
    tolerance = 1e-3
    matrix = with_spectrum(small_negative(300))
    early = []
    for seed in range(10):
        found = run(matrix, seed, top=3, tolerance=tolerance, iterations=200)
        assert found.converged[-1]
        assert found.iterations < 200
        assert found.values[-1].item() == pytest.approx(-0.01, rel=tolerance)
        rough = run(matrix, seed, top=3, tolerance=tolerance, iterations=15)
        assert rough.residuals[-1] <= tolerance * 10
        assert not rough.converged[-1]
        early.append(abs(rough.values[-1].item() / -0.01 - 1))
    assert max(early) > 10 * tolerance


def test_the_largest_eigenvalue_alone_takes_fewer_iterations():
    matrix = with_spectrum(small_negative(300))
    both, largest = (run(matrix, iterations=200, smallest=smallest) for smallest in (True, False))
    assert largest.iterations < both.iterations
    assert largest.values[0].item() == pytest.approx(10.0, rel=1e-6)


@functools.cache
def spectra_whose_largest_is_hard_to_find():
    """Eigenvalues close to the largest, which a start vector may contain more of."""
    draw, dimension = np.random.default_rng(0), 1500
    bulk = 0.05 * np.abs(draw.standard_normal(dimension - 3))
    negative = -0.15 * np.abs(draw.standard_normal(dimension - 10))
    return {
        "three close": np.concatenate([bulk, [0.95, 0.97, 1.0]]),
        "one above an even bulk": np.concatenate([np.linspace(0, 1, dimension - 1), [1.05]]),
        "the end of a thin tail": draw.beta(2, 5, dimension),
        "ten over a negative bulk": np.concatenate([negative, np.linspace(1, 10, 10)]),
    }


def share_found(values, smallest, simulations):
    """Share of starts whose largest value is within the tolerance of the largest eigenvalue."""
    matrix = SymmetricOperator(
        lambda v: torch.from_numpy(values) * v, len(values), dtype=torch.float64
    )
    largest, hits = values.max(), 0
    for seed in range(simulations):
        found = run(matrix, seed, tolerance=0.02, smallest=smallest)
        assert found.values[0] <= largest + 1e-9
        hits += bool(found.values[0] >= largest * (1 - 0.02))
    return hits


@with_simulations(60, 1000)
@pytest.mark.parametrize("spectrum", sorted(spectra_whose_largest_is_hard_to_find()))
def test_the_largest_eigenvalue_alone_is_found_from_nearly_every_start(spectrum, simulations):
    values = spectra_whose_largest_is_hard_to_find()[spectrum]
    hits = share_found(values, False, simulations)
    assert_at_least(0.98, hits, simulations)


def test_as_many_iterations_as_dimensions_are_exact_with_multiplicities():
    values = [5.0, 5.0, 5.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, -1.0, -4.0]
    found = run(with_spectrum(values), top=3, iterations=50)
    assert found.complete
    assert found.values.numpy() == pytest.approx(values, abs=1e-12)
    assert found.residuals.max() == 0


@pytest.mark.parametrize(
    ("values", "most"),
    [
        ([3.0, 2.0, 1.0] + [0.0] * 197, 8),
        ([3.0, 3.0] + [0.0] * 198, 10),
        ([3.0] * 10 + [1.0] * 100 + [-2.0] * 90, 20),
        ([2.0] * 150, 8),
        ([0.0] * 150, 8),
        ([-1.0] * 3 + [0.0] * 150, 10),
    ],
)
def test_repeated_eigenvalues_are_found_with_their_multiplicity(values, most):
    found = run(with_spectrum(values), top=5, tolerance=1e-6)
    assert found.iterations <= most
    assert found.values[:5] == pytest.approx(sorted(values, reverse=True)[:5], abs=1e-10)
    assert found.values[-1].item() == pytest.approx(min(values), abs=1e-10)
    assert found.converged[:5].all()


def test_the_tridiagonal_matrix_has_the_ritz_values_as_eigenvalues():
    found = run(with_spectrum([4.0, 4.0, 2.0] + [0.0] * 60), top=3, tolerance=1e-8)
    side = found.off_diagonal.numpy()
    matrix = np.diag(found.diagonal.numpy()) + np.diag(side, 1) + np.diag(side, -1)
    assert found.values.numpy() == pytest.approx(np.linalg.eigvalsh(matrix)[::-1], abs=1e-12)
    assert (side == 0).any()  # where an invariant subspace was complete


def test_the_tridiagonal_matrix_contains_moments_of_the_start_vector():
    """T holds vᵀAᵏv of the first vector, which density estimates rest on."""
    matrix = with_spectrum(decaying(80))
    seen = []

    def matvec(vector):
        seen.append(vector.clone())
        return matrix @ vector

    found = lanczos(Tridiagonalization(SymmetricOperator(matvec, 80)), iterations=12, tolerance=0.0)
    side = torch.diag(found.off_diagonal, 1)
    tridiagonal = torch.diag(found.diagonal) + side + side.T
    power = torch.eye(12).double()
    start = seen[0]
    for _ in range(6):
        assert power[0, 0] == pytest.approx((seen[0] @ start).item(), rel=1e-10)
        power, start = power @ tridiagonal, matrix @ start
    stacked = torch.stack(seen)
    assert (stacked @ stacked.T - torch.eye(12)).abs().max() < 1e-13


def test_products_in_single_precision():
    matrix = with_spectrum(decaying(200))
    found = lanczos(Tridiagonalization(matrix.float()), top=3, tolerance=1e-4)
    assert found.values.dtype == torch.float64
    assert found.values[:3] == pytest.approx([10.0, 8.0, 6.4], rel=1e-5)


def test_equal_generators_give_equal_results():
    matrix = with_spectrum(decaying(100))
    first, second = (run(matrix, seed=3, iterations=20) for _ in range(2))
    assert torch.equal(first.values, second.values)
    third = run(matrix, seed=4, iterations=20)
    assert not torch.equal(first.values, third.values)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_nonfinite_product_is_an_error(bad):
    calls = []

    def matvec(vector):
        calls.append(1)
        return vector * (bad if len(calls) == 3 else len(calls))

    with pytest.raises(FloatingPointError, match="is not finite"):
        lanczos(Tridiagonalization(SymmetricOperator(matvec, 50)))


@pytest.mark.parametrize("values", [decaying(150), [3.0, 3.0] + [0.0] * 148])
def test_a_space_enlarged_by_others_gives_the_same_eigenvalues(values):
    matrix = with_spectrum(values)
    alone = run(matrix, top=2)
    space = space_of(matrix)
    space.first(80)
    after = lanczos(space, top=2)
    assert alone.iterations < 80
    assert torch.equal(alone.values, after.values)
    assert torch.equal(alone.residuals, after.residuals)


def test_a_matrix_of_dimension_one_is_exact():
    found = lanczos(Tridiagonalization(torch.tensor([[7.0]])), top=1)
    assert found.complete
    assert found.values.tolist() == pytest.approx([7.0])


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.sampled_from([-7.0, -2.0, -0.5, 0.0, 1e-3, 0.5, 1.0, 3.0, 10.0]), min_size=1, max_size=14
    ),
    seed=st.integers(0, 100),
)
def test_complete_runs_equal_dense_eigenvalues(values, seed):
    found = run(with_spectrum(values, seed), top=3, iterations=14)
    assert found.complete
    assert found.values.numpy() == pytest.approx(sorted(values, reverse=True), abs=1e-11)


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(1e-12, 1e6),
    shift=st.floats(-20, 20),
    seed=st.integers(0, 100),
)
def test_shifted_and_scaled_matrices_have_the_expected_eigenvalues(scale, shift, seed):
    values = scale * (np.array(decaying(60)) + shift)
    found = run(with_spectrum(values, seed), top=2, iterations=59, tolerance=1e-7)
    size = np.abs(values).max()
    assert found.converged[:2].all()
    assert found.values[:2] == pytest.approx(values[:2], abs=1e-6 * size)
    assert found.values[-1].item() == pytest.approx(values.min(), abs=1e-6 * size)
