import pytest
import torch

from orchestrator.measures.curvature.gauss_newton import gauss_newton
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.measures.cases import case
from tests.measures.curvature.test_gauss_newton import dense_gauss_newton
from tests.measures.references import dense_hessian


@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh", "unused_parameter"])
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_it_multiplies_vectors_and_matrices_as_the_dense_matrix_does(name, matrix):
    context = case(name).context()
    if matrix == "hessian":
        A, dense = context.hessian, dense_hessian(context)
    else:
        A, dense = gauss_newton(context), dense_gauss_newton(context)
    V = torch.stack([context.probe(index, "gaussian") for index in range(3)], dim=1)
    assert (A.shape, A.dtype, A.device) == (dense.shape, dense.dtype, dense.device)
    torch.testing.assert_close(A @ V[:, 0], dense @ V[:, 0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(A @ V, dense @ V, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["cnn", "tanh", "tied", "group_norm"])
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_a_column_depends_on_the_others_by_rounding_only(name, matrix):
    """And not on the layout of the matrix in memory; equal matrices give equal bits."""
    context = case(name).context()
    A = context.hessian if matrix == "hessian" else gauss_newton(context)
    V = torch.stack([context.probe(index) for index in range(4)], dim=1)
    found = A @ V
    for layout in (V.clone(), V.T.contiguous().T, V.repeat_interleave(2, dim=1)[:, ::2]):
        assert torch.equal(A @ layout, found)
    for column, product in zip(V.T, found.T, strict=True):
        size = product.abs().max().item()
        torch.testing.assert_close(A @ column.contiguous(), product, rtol=0, atol=1e-13 * size)


def test_a_column_gives_the_bits_of_its_own_product_without_rules():
    context = case("tanh").context()
    context.model.register_forward_hook(lambda *_: None)
    assert context.layer_network() is None
    V = torch.stack([context.probe(index) for index in range(4)], dim=1)
    expected = [context.hessian_vector_product(context.probe(index)) for index in range(4)]
    assert torch.equal(context.hessian @ V, torch.stack(expected, dim=1))


def test_the_hessian_has_the_precision_of_the_context():
    context = case("mlp").context(dtype=torch.float32)
    assert context.hessian.dtype == torch.float32
    assert (context.hessian @ context.probe(0)).dtype == torch.float32


def test_no_columns_need_no_product():
    A = SymmetricOperator(lambda v: pytest.fail("no product is needed"), 3)
    assert (A @ torch.empty(3, 0)).shape == (3, 0)


@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (3, 3, 1)])
def test_other_shapes_are_refused(shape):
    A = SymmetricOperator(lambda v: v, 3)
    with pytest.raises(ValueError, match=r"of shape \(3,\) or \(3, k\), got"):
        A @ torch.zeros(shape)
