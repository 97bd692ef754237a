import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.measures.curvature.krylov import Tridiagonalization
from orchestrator.measures.curvature.lanczos import dense_spectrum, lanczos
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.binomial import assert_at_least, with_simulations
from tests.measures.curvature.spectra import diagonal, gaussian, with_spectrum


def run(matrix, seed=0, **options):
    size = matrix.shape[0]
    space = Tridiagonalization(matrix, start=gaussian(size, seed))
    return lanczos(matrix, space, lambda place: gaussian(size, seed, place + 1), **options)


def requested(values, top, smallest=True):
    ordered = np.sort(values)[::-1]
    return np.concatenate([ordered[:top], ordered[-1:]]) if smallest else ordered[:top]


def decaying(dimension):
    """Ten separate large eigenvalues, a bulk around zero, and a few negative."""
    large = [10.0 * 0.8**k for k in range(10)]
    return large + list(np.linspace(-0.2, 0.5, dimension - 12)) + [-1.5, -3.0]


def test_the_largest_and_the_smallest_eigenvalue_of_a_large_matrix_converge():
    values = decaying(300)
    found = run(with_spectrum(values), top=5, tolerance=1e-8)
    assert found.products < 100
    assert found.converged.all()
    assert found.values == pytest.approx(requested(values, 5), abs=1e-7)


def test_negating_the_matrix_mirrors_the_spectrum():
    matrix = with_spectrum(decaying(200))
    up, down = (run(sign * matrix, top=1, tolerance=1e-8) for sign in (1, -1))
    assert down.values[0].item() == pytest.approx(3.0, abs=1e-7)
    assert down.values[-1].item() == pytest.approx(-up.values[0].item(), abs=1e-7)


def test_the_largest_eigenvalue_is_the_largest_by_value_not_magnitude():
    values = [1.0, 0.5, *np.linspace(-1, 0.2, 197), -5.0]
    found = run(with_spectrum(values), top=2, tolerance=1e-8)
    assert found.values == pytest.approx([1.0, 0.5, -5.0], abs=1e-7)


def test_unconverged_values_are_marked_and_are_bounds():
    values = decaying(300)
    found = run(with_spectrum(values), top=5, iterations=8, tolerance=1e-6)
    assert found.products == 8
    assert not found.converged[4]
    truth = requested(values, 5)
    assert (found.values[:5].numpy() <= truth[:5] + 1e-12).all()
    assert found.values[-1] >= -3.0 - 1e-12
    assert ((found.values.numpy() - truth).__abs__() <= found.errors.numpy()).all()


def small_negative(dimension):
    """Large eigenvalues over a bulk, and negative ones of a thousandth of the largest."""
    large = [10.0 * 0.8**k for k in range(10)]
    negative = [-0.01 * 0.8**k for k in range(12)]
    return large + list(np.linspace(0.0, 0.02, dimension - 22)) + negative


def test_a_small_smallest_eigenvalue_is_judged_by_its_own_magnitude():
    """An error far below the largest eigenvalue may be as large as the smallest."""
    tolerance = 1e-3
    matrix = with_spectrum(small_negative(300))
    for seed in range(5):
        found = run(matrix, seed, top=3, tolerance=tolerance, iterations=200)
        assert found.converged[-1]
        assert found.values[-1].item() == pytest.approx(-0.01, rel=tolerance)
        rough = run(matrix, seed, top=3, tolerance=tolerance, iterations=15)
        assert not rough.converged[-1]
        assert abs(rough.values[-1].item() / -0.01 - 1) > 10 * tolerance


def test_the_largest_eigenvalue_alone_takes_fewer_products():
    matrix = with_spectrum(small_negative(300))
    both, largest = (run(matrix, iterations=200, smallest=smallest) for smallest in (True, False))
    assert largest.products < both.products / 2
    assert largest.values[0].item() == pytest.approx(10.0, rel=1e-3)


@functools.cache
def hard_spectra():
    """What a Krylov space finds late or not at all: repeated, close, or the end of many."""
    draw, dimension = np.random.default_rng(0), 1500
    bulk = 0.05 * np.abs(draw.standard_normal(dimension - 3))
    negative = -0.15 * np.abs(draw.standard_normal(dimension - 10))
    tail = 0.1 * np.abs(draw.standard_normal(dimension - 8))
    return {
        "three close": np.r_[bulk, 0.95, 0.97, 1.0],
        "one above an even bulk": np.r_[np.linspace(0, 1, dimension - 1), 1.05],
        "the end of a thin tail": draw.beta(2, 5, dimension),
        "ten over a negative bulk": np.r_[negative, np.linspace(1, 10, 10)],
        "the largest twice": np.r_[tail, 1, 1, 0.9, 0.8, 0.7, 0.65, 0.6, 0.55],
        "the third twice": np.r_[tail, 1, 0.9, 0.8, 0.8, 0.7, 0.65, 0.6, 0.55],
        "close at the end": np.r_[tail, 1, 0.9, 0.8, 0.7995, 0.7, 0.65, 0.6, 0.55],
        "one per class": np.r_[1 + 0.1 * draw.standard_normal(9), 0.2 * tail],
        "graded": 10.0 ** -np.linspace(0, 8, 300),
        "all negative": -1 - draw.beta(2, 5, 300),
    }


def hits_of(values, simulations, dtype=torch.float64, **options):
    """Starts for which every value is as close to its eigenvalue as stated, and no bound wrong."""
    truth = requested(values, options["top"], options["smallest"])
    slack = 10 * torch.finfo(dtype).eps * np.abs(values).max()
    sides = np.ones(len(truth))
    if options["smallest"]:
        sides[-1] = -1
    hits = 0
    for seed in range(simulations):
        found = run(diagonal(values, dtype), seed, **options)
        below = sides * (truth - found.values.numpy())
        assert (below >= -slack).all()
        hits += bool((below <= found.errors.numpy() + slack).all())
    return hits


@with_simulations(10, 1000)
@pytest.mark.parametrize("spectrum", sorted(hard_spectra()))
def test_the_largest_eigenvalue_alone_is_as_close_as_stated(spectrum, simulations):
    options = {"top": 1, "smallest": False, "tolerance": 0.02}
    assert_at_least(0.99, hits_of(hard_spectra()[spectrum], simulations, **options), simulations)


@with_simulations(3, 1000)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("spectrum", sorted(hard_spectra()))
def test_the_largest_and_the_smallest_are_as_close_as_stated(spectrum, dtype, simulations):
    options = {"top": 3, "smallest": True, "tolerance": 0.01, "iterations": 60, "dtype": dtype}
    hits = hits_of(hard_spectra()[spectrum], simulations, **options)
    assert_at_least(0.98, hits, simulations)


@pytest.mark.parametrize("spectrum", ["the largest twice", "the third twice"])
def test_what_a_krylov_space_leaves_out_is_found_in_its_complement(spectrum):
    """The repeated value is missing from the space, whatever its size."""
    values = hard_spectra()[spectrum]
    truth = requested(values, 4, False)
    alone = Tridiagonalization(diagonal(values), start=gaussian(len(values), 0)).first(20).ritz()
    assert alone[0][3] < truth[3] - 0.05
    found = run(diagonal(values), top=4, smallest=False, tolerance=1e-3)
    assert found.converged.all()
    assert found.values.numpy() == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize("values", [decaying(60), [5.0, 5.0, 5.0, 2.0, 1.0, 1.0, 0.0, -1.0, -4.0]])
def test_dense_spectra_are_exact_with_multiplicities(values):
    matrix = with_spectrum(values)
    found = dense_spectrum(matrix, top=4)
    assert found.values.numpy() == pytest.approx(requested(values, 4), abs=1e-12)
    assert (found.errors.max(), found.products) == (0, len(values))
    assert found.converged.all()
    operator = SymmetricOperator(lambda v: matrix @ v, len(values))
    assert torch.allclose(dense_spectrum(operator, top=4).values, found.values)
    with pytest.raises(FloatingPointError, match="is not finite"):
        dense_spectrum(np.nan * matrix)


@pytest.mark.parametrize(
    ("values", "most"),
    [
        ([3.0, 2.0, 1.0] + [0.0] * 197, 12),
        ([3.0, 3.0] + [0.0] * 198, 12),
        ([3.0] * 10 + [1.0] * 100 + [-2.0] * 90, 20),
        ([2.0] * 150, 8),
        ([0.0] * 150, 8),
        ([-1.0] * 3 + [0.0] * 150, 12),
    ],
)
def test_repeated_eigenvalues_are_found_with_their_multiplicity(values, most):
    found = run(with_spectrum(values), top=5, tolerance=1e-6)
    assert found.products <= most
    assert found.values.numpy() == pytest.approx(requested(values, 5), abs=1e-10)
    assert found.converged.all()


def test_products_in_single_precision():
    matrix = with_spectrum(decaying(200)).float()
    found = run(matrix, top=3, tolerance=1e-4)
    assert (found.values.dtype, found.vectors.dtype) == (torch.float64, torch.float32)
    assert found.values[:3] == pytest.approx([10.0, 8.0, 6.4], rel=1e-5)


def test_ritz_vectors_are_orthonormal_and_have_the_values():
    matrix = with_spectrum(decaying(200))
    found = run(matrix, top=4, tolerance=1e-6)
    projected = found.vectors.T @ matrix @ found.vectors
    torch.testing.assert_close(projected, torch.diag(found.values), rtol=0, atol=1e-5)
    identity = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(found.vectors.T @ found.vectors, identity, rtol=0, atol=1e-8)


def test_equal_starts_give_equal_results():
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
        return torch.arange(50.0).double() * vector * (bad if len(calls) == 3 else 1)

    with pytest.raises(FloatingPointError, match="is not finite"):
        run(SymmetricOperator(matvec, 50))


@pytest.mark.parametrize("values", [decaying(150), [3.0, 3.0] + [0.0] * 148])
def test_a_space_enlarged_by_others_gives_the_same_eigenvalues(values):
    matrix = with_spectrum(values)
    alone = run(matrix, top=2)
    space = Tridiagonalization(matrix, start=gaussian(150, 0))
    space.first(80)
    after = lanczos(matrix, space, lambda place: gaussian(150, 0, place + 1), top=2)
    assert alone.products < 80
    assert torch.equal(alone.values, after.values)
    assert torch.equal(alone.errors, after.errors)


def test_a_matrix_of_dimension_one():
    found = run(torch.tensor([[7.0]]), top=1)
    assert found.values.tolist() == pytest.approx([7.0, 7.0])
    assert found.errors.tolist() == [0, 0]


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.sampled_from([-7.0, -2.0, -0.5, 0.0, 1e-3, 0.5, 1.0, 3.0, 10.0]), min_size=3, max_size=14
    ),
    seed=st.integers(0, 100),
)
def test_complements_yield_all_eigenvalues_of_small_matrices(values, seed):
    """Starting again in the complement until nothing is left, with all multiplicities."""
    found = run(with_spectrum(values, seed), seed, top=3, tolerance=1e-9)
    assert found.values.numpy() == pytest.approx(requested(values, 3), abs=1e-7)
    assert found.converged.all()


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(1e-12, 1e6),
    shift=st.floats(-20, 20),
    seed=st.integers(0, 100),
)
def test_shifted_and_scaled_matrices_have_the_expected_eigenvalues(scale, shift, seed):
    values = scale * (np.array(decaying(60)) + shift)
    found = run(with_spectrum(values, seed), seed, top=2, iterations=59, tolerance=1e-7)
    size = np.abs(values).max()
    assert found.converged[:2].all()
    assert found.values.numpy() == pytest.approx(requested(values, 2), abs=1e-6 * size)
