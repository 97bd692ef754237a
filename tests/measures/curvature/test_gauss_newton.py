import pytest
import torch
from torch.func import functional_call, jacrev

from orchestrator.measures.curvature.gauss_newton import (
    gauss_newton,
    logit_derivative,
    loss_hessian_product,
)
from tests.measures.cases import CASES, case
from tests.measures.curvature.test_loss_hessian import LOSSES, Indefinite, dense, examples


def jacobian(context):
    """∂z/∂θ, shape (n, classes, P)."""
    x = torch.cat([x for x, _ in context.data.batches("train")])
    parameters = {name: p.detach() for name, p in context.parameters.items()}
    blocks = jacrev(lambda values: functional_call(context.model, values, (x,)))(parameters)
    return torch.cat([blocks[name].flatten(2) for name in context.parameters], 2)


def dense_gauss_newton(context):
    """1/n Σ_i J_iᵀ A_i J_i."""
    j = jacobian(context)
    curvature = dense(context.loss, context.logits("train"), context.data.labels("train"))
    return torch.einsum("ncp,ncd,ndq->pq", j, curvature, j) / len(j)


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_gauss_newton_products_equal_the_dense_product(subject):
    context = subject.context()
    vector = context.probe(0, "gaussian")
    expected = dense_gauss_newton(context) @ vector
    scale = 1.0 if subject.name == "saturated" else max(expected.abs().max().item(), 1e-300)
    torch.testing.assert_close(
        gauss_newton(context) @ vector, expected, rtol=1e-9, atol=1e-12 * scale
    )


def test_gauss_newton_products_of_a_linear_network_are_those_of_the_hessian():
    context = case("linear").context()
    vector = context.probe(0)
    torch.testing.assert_close(gauss_newton(context) @ vector, context.hessian @ vector)


@pytest.mark.parametrize("name", ["cnn", "tanh"])
def test_the_size_of_passes_does_not_change_a_product(name):
    vector = case(name).context().probe(0)
    torch.testing.assert_close(
        gauss_newton(case(name).context(examples_per_pass=3)) @ vector,
        gauss_newton(case(name).context()) @ vector,
    )


def test_the_derivative_of_logits_along_a_direction_equals_the_dense_one():
    context = case("tanh").context()
    direction = context.probe(1, "gaussian")
    (x, _), *_ = context.data.batches("train")
    with torch.enable_grad():
        logits = context.forward(x)
    found = logit_derivative(context, logits, context.unflatten(direction))
    torch.testing.assert_close(found, jacobian(context) @ direction)
    assert not found.requires_grad


@pytest.mark.parametrize("loss", [*LOSSES.values(), Indefinite()], ids=[*LOSSES, "indefinite"])
def test_products_with_the_hessian_of_the_loss_equal_the_dense_product(loss):
    logits, labels = examples()
    vectors = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.einsum("ncd,nd->nc", dense(loss, logits, labels), vectors)
    torch.testing.assert_close(loss_hessian_product(loss, logits, labels, vectors), expected)


@pytest.mark.parametrize("margin", [20.0, 40.0, 300.0])
def test_a_saturated_softmax_keeps_its_curvature(margin):
    """uᵀAu = p(1 − p)(u_0 − u_1)² for two classes, where 1 − p by subtraction is 0."""
    logits = torch.tensor([[margin, 0.0]], dtype=torch.float64)
    u = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    product = loss_hessian_product(LOSSES["cross_entropy"], logits, torch.tensor([0]), u)
    other = torch.exp(torch.tensor(-margin, dtype=torch.float64))
    expected = other / (1 + other) ** 2 * 16
    # The share of the likely class is lost below rounding; counted from it nothing else is.
    counted = u - u[:, :1]
    torch.testing.assert_close((counted * product).sum(), expected, rtol=1e-10, atol=0)
