import numpy as np
import pytest
import torch

from orchestrator.measures.curvature.krylov import Tridiagonalization
from tests.measures.curvature.spectra import signs, with_spectrum

VALUES = [6.0, 3.0, 3.0, *np.linspace(-2, 1, 37)]


def test_the_matrix_is_tridiagonal_on_its_space():
    """Against the definition, with vectors seen from outside."""
    matrix = with_spectrum(VALUES)
    seen = []

    def matvec(vector):
        seen.append(vector.clone())
        return matrix @ vector

    space = Tridiagonalization(matvec, 40, start=5 * signs(40, 0))
    for _ in range(15):
        space.step()
    basis = torch.stack(seen, dim=1)
    torch.testing.assert_close(seen[0], signs(40, 0) / 40**0.5)
    side = torch.diag(torch.tensor(space.off_diagonal, dtype=torch.float64), 1)
    tridiagonal = torch.diag(torch.tensor(space.diagonal, dtype=torch.float64)) + side + side.T
    torch.testing.assert_close(basis.T @ basis, torch.eye(15).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(basis.T @ matrix @ basis, tridiagonal, rtol=0, atol=1e-12)
    outside = matrix @ basis - basis @ tridiagonal
    assert torch.linalg.vector_norm(outside[:, -1]).item() == pytest.approx(space.beta)
    assert outside[:, :-1].abs().max() < 1e-12
    values, vectors = space.eigensystem()
    torch.testing.assert_close(
        vectors @ torch.diag(values) @ vectors.T, tridiagonal, rtol=0, atol=1e-12
    )


def test_goes_on_in_a_new_block_after_an_invariant_subspace():
    space = Tridiagonalization(lambda v: 2 * v, 5, generator=torch.Generator().manual_seed(0))
    assert not space.invariant
    for size in range(1, 6):
        space.step()
        assert (space.size, space.block, space.invariant) == (size, size - 1, True)
    assert space.diagonal == pytest.approx([2.0] * 5)
    assert space.off_diagonal == [0.0] * 4
    assert space.eigensystem(3)[0].tolist() == pytest.approx([2.0, 2.0])


def test_knows_the_precision_of_the_products():
    matrix = with_spectrum(VALUES)
    for dtype in (torch.float32, torch.float64):
        space = Tridiagonalization(lambda v, dtype=dtype: (matrix @ v).to(dtype), 40)
        space.step()
        assert space.precision == torch.finfo(dtype).eps


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_an_error(bad):
    space = Tridiagonalization(lambda v: v * bad, 4)
    with pytest.raises(FloatingPointError, match=r"isn't finite \(iteration 1\)"):
        space.step()
