import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature import trace_estimates as module
from orchestrator.measures.curvature.trace_estimates import controlled_trace, hutchinson_trace
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import case
from tests.measures.curvature.learned import learned_context
from tests.measures.curvature.test_gauss_newton import dense_gauss_newton
from tests.measures.references import dense_hessian


@pytest.mark.parametrize("activation", [nn.Tanh, pytest.param(nn.GELU, marks=pytest.mark.slow)])
def test_the_control_variate_has_the_variance_of_the_remainder_alone(activation):
    """After training that is a small part of the Hessian's."""
    context = learned_context(activation)
    hessian = dense_hessian(context)
    rest = hessian - dense_gauss_newton(context)

    def variance(matrix):
        return 2 * (matrix.square().sum() - matrix.diagonal().square().sum()).item()

    plain, controlled = (
        estimate(context, probes=400, relative_error=0).total
        for estimate in (hutchinson_trace, controlled_trace)
    )
    truth = hessian.trace().item()
    for found, matrix in ((plain, hessian), (controlled, rest)):
        assert found.standard_error**2 * 400 == pytest.approx(variance(matrix), rel=0.25)
        assert abs(found.value - truth) < 4 * found.standard_error
    assert controlled.standard_error < 0.4 * plain.standard_error


def test_a_linear_network_has_no_remainder_and_no_error():
    context = case("linear").context()
    found = controlled_trace(context, probes=16).total
    assert found.value == pytest.approx(dense_hessian(context).trace().item(), rel=1e-12)
    assert found.standard_error < 1e-14


@pytest.fixture
def dense_products(monkeypatch):
    """The products with H and G of the learned network, from the dense matrices: for less."""
    context = learned_context(nn.Tanh)
    hessian, ggn = dense_hessian(context), dense_gauss_newton(context)
    monkeypatch.setattr(module, "gauss_newton", lambda context: ggn)
    monkeypatch.setattr(MeasureContext, "hessian", hessian)
    return context, hessian


@with_simulations(40, 2000)
@pytest.mark.parametrize(
    ("estimate", "relative_error"),
    [(hutchinson_trace, 0.0), (hutchinson_trace, 0.06), (controlled_trace, 0.01)],
)
def test_intervals_cover_the_trace_and_its_parts(
    dense_products, estimate, relative_error, simulations
):
    """With a stopping rule, too: where it stops depends on the very samples it averages."""
    context, hessian = dense_products
    sizes = [p.numel() for p in context.parameters.values()]
    truth = [hessian.trace(), *(part.sum() for part in hessian.diagonal().split(sizes))]
    covered, used = [], set()
    for seed in range(simulations):
        context.seed = seed
        for index in range(128):
            context.release(("probe_moments", index))
        found = estimate(
            context, probes=128 if relative_error else 48, relative_error=relative_error
        )
        used.add(found.total.probes)
        covered.append(
            [
                # Logits are linear in the last layer: its share has no error but rounding.
                abs(part.value - value.item())
                <= 1.96 * part.standard_error + 1e-14 * hessian.trace().item()
                for part, value in zip(
                    [found.total, *found.per_parameter.values()], truth, strict=True
                )
            ]
        )
    for part, hits in enumerate(np.sum(covered, axis=0)):
        assert_covers(hits, simulations, what=f"coverage of part {part}")
    assert (len(used) > 1) == (relative_error > 0)


def test_the_parts_come_from_the_same_probes_as_the_total():
    context = case("tanh").context()
    for estimate in (hutchinson_trace, controlled_trace):
        found = estimate(context, probes=20, relative_error=0)
        assert sum(part.value for part in found.per_parameter.values()) == pytest.approx(
            found.total.value, rel=1e-12
        )
        assert list(found.per_parameter) == list(context.parameters)


def test_the_trace_in_single_precision_agrees_with_double():
    double, single = (
        controlled_trace(case("tanh").context(dtype=dtype), probes=20)
        for dtype in (torch.float64, torch.float32)
    )
    assert single.total.value == pytest.approx(double.total.value, rel=1e-4)
