import math

import pytest
import torch
from torch import nn

from orchestrator.data import Dataset
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.fisher import fisher_trace
from orchestrator.measures.curvature.ggn_trace import (
    GgnTrace,
    exact_ggn_trace,
)
from orchestrator.study.measure_options.curvature import GgnTraceOptions
from tests.measures.cases import CASES, CROSS_ENTROPY, case, mlp, random_dataset
from tests.measures.curvature.test_gauss_newton import dense_gauss_newton
from tests.measures.references import dense_hessian


def trace_of(context, **options):
    (value,) = GgnTrace(GgnTraceOptions(name="ggn_trace", **options)).compute(context)
    assert (value.measure, value.split) == ("ggn_trace", "train")
    return value


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_the_ggn_trace_is_exact_for_every_network(subject):
    context = subject.context()
    expected = dense_gauss_newton(context).diagonal()
    parts = expected.split([p.numel() for p in context.parameters.values()])
    found = exact_ggn_trace(context)
    rounding = 1e-12 if subject.name == "saturated" else 0
    assert found.total == pytest.approx(expected.sum().item(), rel=1e-10, abs=rounding)
    for name, part in zip(context.parameters, parts, strict=True):
        assert found.per_parameter[name] == pytest.approx(
            part.sum().item(), rel=1e-9, abs=max(rounding, 1e-15)
        )
    assert found.per_example.mean().item() == pytest.approx(found.total)
    assert trace_of(context).value == found.total
    assert trace_of(context).standard_error is None


@pytest.mark.parametrize("name", ["mlp", "tanh", "label_smoothing"])
def test_the_ggn_trace_of_cross_entropy_is_the_fisher_trace(name):
    context = case(name).context()
    assert trace_of(context).value == fisher_trace(context).total


def test_the_ggn_trace_of_other_losses_is_not_the_fisher_trace():
    context = case("mse").context()
    assert trace_of(context).value == pytest.approx(dense_hessian(context).trace().item())
    assert trace_of(context).value != pytest.approx(fisher_trace(context).total, rel=0.1)


def many_classes(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = mlp(6, 8, 12, activation=nn.Tanh)
    return MeasureContext(network, random_dataset((6,), 40, 12), CROSS_ENTROPY, **options)


def test_factors_are_sampled_only_if_that_takes_fewer_gradients():
    assert trace_of(many_classes(), label_samples=11).variant == "exact"
    sampled = trace_of(many_classes(), label_samples=10)
    assert sampled.variant == "sampled_factors"
    assert sampled.standard_error > 0


def test_duplicating_the_data_does_not_change_the_trace():
    data = random_dataset((5,), 8, 3)
    twice = Dataset(
        "twice", data.train_x.repeat(2, 1), data.train_y.repeat(2), data.test_x, data.test_y, 3, ""
    )
    once, doubled = (
        trace_of(MeasureContext(case("gelu").model(), d, CROSS_ENTROPY)).value
        for d in (data, twice)
    )
    assert doubled == pytest.approx(once, rel=1e-13)


@pytest.mark.parametrize("samples", [None, 2])
def test_a_network_that_diverged_gives_a_reason(samples):
    network = mlp(5, 4, 6, activation=nn.Tanh)
    nn.init.constant_(network[0].bias, math.nan)
    context = MeasureContext(network, random_dataset((5,), 9, 6), CROSS_ENTROPY)
    found = trace_of(context, label_samples=samples)
    assert math.isnan(found.value)
    assert "no finite curvature" in found.reason
