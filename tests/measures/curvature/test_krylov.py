import numpy as np
import pytest
import torch

from orchestrator.measures.curvature.krylov import Tridiagonalization
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.measures.curvature.spectra import signs, with_spectrum

VALUES = [6.0, 3.0, 3.0, *np.linspace(-2, 1, 37)]


def dense(found):
    side = torch.diag(torch.tensor(found.betas[:-1], dtype=torch.float64), 1)
    return torch.diag(torch.tensor(found.diagonal, dtype=torch.float64)) + side + side.T


def test_the_matrix_is_tridiagonal_on_its_krylov_space():
    """Against the definition, with vectors seen from outside."""
    matrix = with_spectrum(VALUES)
    seen = []

    def matvec(vector):
        seen.append(vector.clone())
        return matrix @ vector

    space = Tridiagonalization(SymmetricOperator(matvec, 40), start=5 * signs(40, 0))
    found = space.first(15)
    basis = torch.stack(seen, dim=1)
    torch.testing.assert_close(seen[0], signs(40, 0) / 40**0.5)
    tridiagonal = dense(found)
    torch.testing.assert_close(basis.T @ basis, torch.eye(15).double(), rtol=0, atol=1e-10)
    torch.testing.assert_close(basis.T @ matrix @ basis, tridiagonal, rtol=0, atol=1e-10)
    outside = matrix @ basis - basis @ tridiagonal
    assert torch.linalg.vector_norm(outside[:, -1]).item() == pytest.approx(found.betas[-1])
    assert outside[:, :-1].abs().max() < 1e-10
    values, residuals, vectors = found.ritz()
    assert (values[:-1] >= values[1:]).all()
    torch.testing.assert_close(
        vectors @ torch.diag(values) @ vectors.T, tridiagonal, rtol=0, atol=1e-12
    )
    ritz = space.vectors(vectors)
    torch.testing.assert_close(ritz, basis @ vectors)
    lengths = torch.linalg.vector_norm(matrix @ ritz - ritz * values, dim=0)
    torch.testing.assert_close(residuals, lengths, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spectrum", ["graded", "decaying", "clustered"])
def test_vectors_stay_orthogonal_although_few_are_orthogonalized(dtype, spectrum):
    """Without, eigenvalues that converged appear again, and orthogonality is lost entirely."""
    dimension, steps = 400, 90
    values = {
        "graded": 10.0 ** -np.linspace(0, 6, dimension),
        "decaying": 0.7 ** np.arange(dimension),
        "clustered": np.r_[[5, 5 - 1e-6, 4, 4 - 1e-6], 0.1 * np.linspace(-1, 1, dimension - 4)],
    }[spectrum]
    A = SymmetricOperator(lambda v: torch.from_numpy(values).to(v) * v, dimension, dtype=dtype)
    start = torch.randn(dimension, generator=torch.Generator().manual_seed(0))
    space = Tridiagonalization(A, start=start)
    steps = space.first(steps).size
    basis = space.vectors(torch.eye(steps, dtype=torch.float64)).double()
    loss = (basis.T @ basis - torch.eye(steps)).abs().max().item()
    assert loss < torch.finfo(dtype).eps ** 0.5


def test_the_process_stops_at_an_invariant_subspace():
    A = with_spectrum([3.0] * 10 + [1.0] * 10 + [-1.0] * 10)
    space = Tridiagonalization(A, start=signs(30, 0))
    found = space.first(20)
    assert (found.size, found.invariant, space.size) == (3, True, 3)
    assert found.ritz()[0].tolist() == pytest.approx([3, 1, -1])
    assert not space.first(2).invariant


def test_the_complement_of_vectors_has_the_other_eigenvalues():
    matrix = with_spectrum(VALUES)
    outside = torch.linalg.eigh(matrix)[1].flip(1)[:, :2]
    space = Tridiagonalization(matrix, start=signs(40, 0), outside=outside)
    found = space.first(38)
    assert found.ritz()[0][:2].tolist() == pytest.approx([3.0, 1.0], abs=1e-9)
    ritz = space.vectors(found.ritz()[2])
    assert (outside.T @ ritz).abs().max() < 1e-9


def test_couplings_are_the_products_with_what_is_outside():
    matrix = with_spectrum(VALUES)
    outside = torch.linalg.qr(
        torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
    )[0]
    space = Tridiagonalization(matrix, start=signs(40, 0), outside=outside)
    space.first(7)
    basis = space.vectors(torch.eye(7).double())
    torch.testing.assert_close(space.couplings(7), outside.T @ matrix @ basis)


def test_earlier_results_are_unchanged_as_the_space_grows():
    products = []
    matrix = with_spectrum(VALUES)

    def matvec(vector):
        products.append(1)
        return matrix @ vector

    space = Tridiagonalization(SymmetricOperator(matvec, 40), start=signs(40, 1))
    before = space.first(6)
    larger = space.first(12)
    assert space.first(6) == before
    assert larger.diagonal[:6] == before.diagonal
    assert larger.betas[:6] == before.betas
    assert len(products) == space.size == 12


def test_the_space_knows_the_precision_of_its_products():
    matrix = with_spectrum(VALUES)
    for dtype in (torch.float32, torch.float64):
        space = Tridiagonalization(matrix.to(dtype), start=signs(40, 0))
        assert space.precision == torch.finfo(dtype).eps


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_nonfinite_product_is_an_error_for_every_user_of_the_space(bad):
    space = Tridiagonalization(SymmetricOperator(lambda v: v * bad, 4), start=signs(4, 0))
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=r"is not finite \(iteration 1\)"):
            space.first(2)
