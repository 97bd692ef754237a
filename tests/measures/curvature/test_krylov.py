import numpy as np
import pytest
import torch

from orchestrator.measures.curvature.krylov import Tridiagonalization
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.measures.curvature.spectra import signs, with_spectrum

VALUES = [6.0, 3.0, 3.0, *np.linspace(-2, 1, 37)]


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
    side = torch.diag(torch.tensor(found.off_diagonal, dtype=torch.float64), 1)
    tridiagonal = torch.diag(torch.tensor(found.diagonal, dtype=torch.float64)) + side + side.T
    torch.testing.assert_close(basis.T @ basis, torch.eye(15).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(basis.T @ matrix @ basis, tridiagonal, rtol=0, atol=1e-12)
    outside = matrix @ basis - basis @ tridiagonal
    assert torch.linalg.vector_norm(outside[:, -1]).item() == pytest.approx(found.beta)
    assert outside[:, :-1].abs().max() < 1e-12
    values, vectors = found.eigensystem()
    torch.testing.assert_close(
        vectors @ torch.diag(values) @ vectors.T, tridiagonal, rtol=0, atol=1e-12
    )


def test_a_new_block_starts_after_an_invariant_subspace():
    space = Tridiagonalization(
        2 * torch.eye(5).double(), generator=torch.Generator().manual_seed(0)
    )
    for size in range(1, 6):
        found = space.first(size)
        assert (found.size, found.block, found.invariant) == (size, size - 1, True)
    assert found.diagonal == pytest.approx([2.0] * 5)
    assert found.off_diagonal == [0.0] * 4
    assert found.eigensystem(3)[0].tolist() == pytest.approx([2.0, 2.0])
    assert space.first_block(4) == space.first(1)


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
    assert larger.off_diagonal[5] == before.beta
    assert len(products) == 12
    assert space.first_block(9) == space.first(9)


def test_the_space_knows_the_precision_of_its_products():
    matrix = with_spectrum(VALUES)
    for dtype in (torch.float32, torch.float64):
        space = Tridiagonalization(matrix.to(dtype))
        assert space.first(1).precision == torch.finfo(dtype).eps


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_nonfinite_product_is_an_error_for_every_user_of_the_space(bad):
    space = Tridiagonalization(SymmetricOperator(lambda v: v * bad, 4))
    for _ in range(2):  # whoever shares the space is told
        with pytest.raises(FloatingPointError, match=r"is not finite \(iteration 1\)"):
            space.first(2)
