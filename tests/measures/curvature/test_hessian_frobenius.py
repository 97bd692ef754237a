from __future__ import annotations

from math import isnan
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_frobenius import HessianFrobeniusNorm
from orchestrator.measures.curvature.hessian_trace import HessianTrace
from orchestrator.study.measure_options.curvature import (
    HessianFrobeniusNormOptions,
    HessianTraceOptions,
)
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset, regression_context
from tests.measures.curvature.learned import learned_context
from tests.measures.references import dense_hessian


def norm_of(context: MeasureContext, **options: Any) -> Value:
    measure = HessianFrobeniusNorm(
        HessianFrobeniusNormOptions(name="hessian_frobenius_norm", **options)
    )
    (value,) = measure.compute(context)
    assert (value.measure, value.split) == ("hessian_frobenius_norm", "train")
    return value


def counted(context: MeasureContext) -> list[int]:
    """Indices of the probes that are multiplied from now on."""
    used: list[int] = []
    probe = context.probe

    def counting(index: int, *arguments: Any) -> torch.Tensor:
        used.append(index)
        return probe(index, *arguments)

    context.probe = counting  # type: ignore[method-assign,assignment]
    return used


@pytest.mark.parametrize(
    "name", ["mlp", "cnn", "tanh", "tied", "squared_hinge", "unused_parameter"]
)
def test_the_norm_agrees_with_the_dense_hessian(name: str) -> None:
    context = case(name).context()
    truth = torch.linalg.matrix_norm(dense_hessian(context)).item()
    found = norm_of(context, probes=300, relative_error=1e-9)
    assert found.standard_error is not None
    assert 0 < found.standard_error < 0.1 * truth
    assert abs(found.value - truth) < 4 * found.standard_error


def test_the_standard_error_follows_from_the_variance_of_the_probes() -> None:
    """Variance of ‖Hv‖² = vᵀH²v over ±1, then the delta method."""
    context = case("tanh").context()
    squared = dense_hessian(context) @ dense_hessian(context)
    variance = 2 * (squared.square().sum() - squared.diagonal().square().sum()).item()
    expected = (variance / 400) ** 0.5 / (2 * squared.trace().item() ** 0.5)
    found = norm_of(context, probes=400, relative_error=1e-9)
    assert found.standard_error == pytest.approx(expected, rel=0.2)


def test_a_single_weight_is_exact_with_the_fewest_probes() -> None:
    """Every probe gives the same there: no standard error, and the fewest probes are enough."""
    context = regression_context(
        torch.nn.Linear(1, 1, bias=False), random_dataset((1,), 6, 1), case("mse").loss
    )
    used = counted(context)
    found = norm_of(context, probes=2000)
    assert found.value == pytest.approx(dense_hessian(context).abs().item(), rel=1e-13)
    assert found.standard_error == pytest.approx(0, abs=1e-13)
    assert len(used) == 16


def test_sampling_stops_at_the_relative_error_of_the_norm() -> None:
    context = case("tanh").context()
    used = counted(context)
    found = norm_of(context, relative_error=0.1, probes=1000)
    assert found.standard_error is not None
    assert found.standard_error <= 0.1 * found.value
    assert len(used) < 1000
    assert len(used) in {16, 32, 64, 128, 256, 512}


@with_simulations(80, 2000)
def test_intervals_cover_the_norm_even_if_sampling_stops_by_itself(simulations: int) -> None:
    context = learned_context(nn.Tanh)
    hessian = dense_hessian(context)
    context.hessian_vector_product = hessian.mv  # type: ignore[method-assign]
    truth = torch.linalg.matrix_norm(hessian).item()
    covered = 0
    for seed in range(simulations):
        context.seed = seed
        context.shared = lambda key, compute: compute()  # type: ignore[method-assign]
        value = norm_of(context)
        assert value.standard_error is not None
        covered += abs(value.value - truth) <= 1.99 * value.standard_error
    assert_covers(covered, simulations)


def test_the_norm_shares_its_products_with_the_trace() -> None:
    context = case("tanh").context()
    used = counted(context)
    options = {"method": "hutchinson", "probes": 20, "relative_error": 1e-9}
    trace = HessianTrace(HessianTraceOptions(name="hessian_trace", **options))
    alone = norm_of(case("tanh").context(), probes=24, relative_error=1e-9)
    (value,) = trace.compute(context)
    assert value.variant == "hutchinson"
    together = norm_of(context, probes=24, relative_error=1e-9)
    assert used == list(range(24))
    assert together == alone


def test_the_norm_does_not_depend_on_how_examples_are_divided() -> None:
    whole = norm_of(case("tanh").context(), probes=16)
    passes = norm_of(case("tanh").context(examples_per_pass=3), probes=16)
    assert passes.value == pytest.approx(whole.value, rel=1e-11)


def test_the_norm_without_curvature_is_zero() -> None:
    found = norm_of(case("certain").context())
    assert (found.value, found.standard_error) == (0, 0)


def test_a_network_that_diverged_gives_a_reason() -> None:
    model = case("mlp").model()
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")
    found = norm_of(MeasureContext(model, random_dataset((5,), 4, 3), CROSS_ENTROPY))
    assert isnan(found.value)
    assert "no finite curvature" in str(found.reason)


def test_a_single_probe_is_refused() -> None:
    with pytest.raises(MeasureError, match="one probe has no standard error"):
        norm_of(case("mlp").context(), probes=1)
