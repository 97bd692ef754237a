import math
import re

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_trace import HessianTrace
from orchestrator.study.measure_options.curvature import HessianTraceOptions
from tests.measures.cases import CASES, CROSS_ENTROPY, case, mlp, random_dataset
from tests.measures.references import dense_hessian


def trace_of(context, **options):
    measure = HessianTrace(HessianTraceOptions(name="hessian_trace", **options))
    (value,) = measure.compute(context)
    assert value.measure == "hessian_trace"
    assert value.split == "train"
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_trace_is_exact_where_proven_and_estimated_elsewhere(case):
    value = trace_of(case.context(), probes=20)
    assert value.variant == ("exact" if case.piecewise_linear else "control_variate")
    assert (value.standard_error is None) == case.piecewise_linear


@pytest.mark.parametrize("method", ["hutchinson", "control_variate", "hutch++", "xtrace"])
@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh", "gelu", "tied", "group_norm"])
def test_all_methods_agree_with_the_dense_hessian(name, method):
    context = case(name).context()
    truth = dense_hessian(context).trace().item()
    probes = 30 if method in {"hutch++", "xtrace"} else 60
    estimate = trace_of(context, method=method, probes=probes, relative_error=1e-9)
    assert estimate.variant == method
    assert abs(estimate.value - truth) < 4 * estimate.standard_error
    if case(name).piecewise_linear:
        exact = trace_of(context, method="exact")
        assert exact.value == pytest.approx(truth, rel=1e-12)


def test_the_standard_error_follows_from_the_variance_of_the_probes():
    context = case("tanh").context()
    hessian = dense_hessian(context)
    expected = 2 * (hessian.square().sum() - hessian.diagonal().square().sum())
    found = trace_of(context, method="hutchinson", probes=400, relative_error=1e-9)
    assert found.standard_error**2 * 400 == pytest.approx(expected.item(), rel=0.25)


def test_the_exact_method_refuses_with_the_reason():
    with pytest.raises(MeasureError, match=r"Tanh \(layer '1'\) isn't known") as error:
        trace_of(case("tanh").context(), method="exact")
    assert error.value.hint == "use method: hutchinson, or auto, which estimates if necessary"


def test_sampling_stops_at_the_relative_error():
    used = []
    for relative_error in (10.0, 1e-9):
        context = case("tanh").context()
        probes = []
        probe = context.probe
        context.probe = lambda index, probe=probe, probes=probes: (
            probes.append(index) or probe(index)
        )
        trace_of(context, method="hutchinson", relative_error=relative_error, probes=40)
        used.append(probes)
    assert used == [list(range(16)), list(range(40))]


def test_every_checkpoint_uses_the_same_probes():
    """The noise of a difference is then that of the difference alone."""
    network = case("tanh").model()
    data = case("tanh").dataset()
    before, same = (
        trace_of(MeasureContext(network, data, CROSS_ENTROPY, seed=3), probes=50).value
        for _ in range(2)
    )
    assert before == same
    with torch.no_grad():
        network[0].weight += 1e-4
    near = trace_of(MeasureContext(network, data, CROSS_ENTROPY, seed=3), probes=50)
    other = trace_of(MeasureContext(network, data, CROSS_ENTROPY, seed=4), probes=50)
    assert abs(near.value - before) < 0.01 * near.standard_error
    assert abs(other.value - before) > 0.01 * near.standard_error


@pytest.mark.parametrize("method", ["exact", "hutchinson", "control_variate", "hutch++", "xtrace"])
def test_the_size_of_passes_does_not_change_the_trace(method):
    values = [
        trace_of(case("cnn").context(examples_per_pass=size), method=method, probes=20).value
        for size in (3, 1000)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-10)


@pytest.mark.parametrize("method", ["exact", "hutchinson", "control_variate", "hutch++", "xtrace"])
def test_a_network_that_diverged_gives_a_reason(method):
    network = mlp(5, 4, 3)
    with torch.no_grad():
        network[0].bias[0] = math.inf
    context = MeasureContext(network, random_dataset((5,), 6, 3), CROSS_ENTROPY)
    found = trace_of(context, method=method)
    assert math.isnan(found.value)
    assert "no finite curvature" in found.reason


def test_a_single_probe_is_refused():
    with pytest.raises(MeasureError, match="too few for a standard error"):
        HessianTrace(HessianTraceOptions(name="hessian_trace", probes=1))


@pytest.mark.parametrize("method", ["hutch++", "xtrace"])
def test_sketches_need_more_products_and_know_no_layers(method):
    with pytest.raises(MeasureError, match="too few for a standard error, expected at least 6"):
        HessianTrace(HessianTraceOptions(name="hessian_trace", method=method, probes=5))
    with pytest.raises(MeasureError, match=rf"{re.escape(method)} does not support per_layer"):
        HessianTrace(HessianTraceOptions(name="hessian_trace", method=method, per_layer=True))


def test_xtrace_is_exact_with_more_probes_than_the_hessian_has_rank():
    """At most examples · (classes − 1) if the logits are linear in the weights."""
    context = case("linear").context(examples=3)
    found = trace_of(context, method="xtrace", probes=16)
    assert found.value == pytest.approx(dense_hessian(context).trace().item(), rel=1e-12)
    assert found.standard_error < 1e-12 * found.value
    assert context.n_parameters == 18


def test_methods_that_are_not_the_default_are_named_in_the_request():
    options = HessianTraceOptions(name="hessian_trace", method="xtrace")
    assert options.request == 'hessian_trace(method="xtrace")'
    assert HessianTraceOptions(name="hessian_trace").request == "hessian_trace"


def dense_blocks(context):
    diagonal = dense_hessian(context).diagonal()
    parts = diagonal.split([p.numel() for p in context.parameters.values()])
    return {name: part.sum().item() for name, part in zip(context.parameters, parts, strict=True)}


@pytest.mark.parametrize(
    ("name", "method"),
    [("cnn", "exact"), ("cnn", "hutchinson"), ("tanh", "hutchinson"), ("tanh", "control_variate")],
)
def test_traces_of_parameters_sum_to_the_total_and_agree_with_dense_blocks(name, method):
    context = case(name).context()
    options = HessianTraceOptions(
        name="hessian_trace", method=method, per_layer=True, probes=60, relative_error=1e-9
    )
    total, *parts = HessianTrace(options).compute(context)
    assert total == trace_of(context, method=method, probes=60, relative_error=1e-9)
    assert [part.variant for part in parts] == list(context.parameters)
    assert sum(part.value for part in parts) == pytest.approx(total.value, rel=1e-10)
    for part, expected in zip(parts, dense_blocks(context).values(), strict=True):
        if method == "exact":
            assert part.standard_error is None
            assert part.value == pytest.approx(expected, rel=1e-10)
        else:
            assert abs(part.value - expected) <= 4 * part.standard_error + 1e-12


def test_networks_without_per_example_gradients_are_estimated_as_a_whole():
    class Centered(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.first(x - x.mean(0)).tanh())

    context = MeasureContext(Centered(), random_dataset((5,), 9, 3), CROSS_ENTROPY)
    found = trace_of(context, probes=100, relative_error=1e-9)
    assert found.variant == "hutchinson"
    assert abs(found.value - dense_hessian(context).trace().item()) < 4 * found.standard_error
    with pytest.raises(MeasureError, match="depend on the other examples"):
        trace_of(context, method="control_variate")


def test_with_more_classes_than_probes_plain_hutchinson_is_used():
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 12))
    context = MeasureContext(network, random_dataset((4,), 30, 12), CROSS_ENTROPY)
    assert trace_of(context, probes=10).variant == "hutchinson"
    assert trace_of(context, probes=11).variant == "control_variate"
