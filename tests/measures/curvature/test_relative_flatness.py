import math

import pytest
import torch
from torch import nn

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.fisher_rao import FisherRaoNorm
from orchestrator.measures.curvature.relative_flatness import (
    RelativeFlatness,
    estimated_relative_flatness,
    exact_relative_flatness,
)
from orchestrator.measures.curvature.weight_layers import weight_layers, weight_matrices
from orchestrator.study.measure_options.curvature import (
    FisherRaoNormOptions,
    RelativeFlatnessOptions,
)
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, mlp, random_dataset
from tests.measures.references import dense_hessian


def flatness_of(context, **options):
    options = RelativeFlatnessOptions(name="relative_flatness", **options)
    return {v.variant: v for v in RelativeFlatness(options).compute(context)}


def dense_flatness(context):
    """Σ_{s,s'} ⟨w_s, w_s'⟩ tr(H_{s,s'}) of each layer, pair of rows by pair of rows."""
    hessian, found, start = dense_hessian(context), {}, 0
    layers = {layer.name: layer for layer in weight_layers(context)}
    for name, parameter in context.parameters.items():
        end = start + parameter.numel()
        if name in layers:
            block, total = hessian[start:end, start:end], 0.0
            matrices = weight_matrices(layers[name].module)
            groups, rows, inputs = matrices.shape
            block = block.reshape(groups, rows, inputs, groups, rows, inputs)
            for g in range(groups):
                for s in range(rows):
                    for t in range(rows):
                        weight = matrices[g, s] @ matrices[g, t]
                        total += (weight * block[g, s, :, g, t, :].trace()).item()
            found[name] = total
        start = end
    return found


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_flatness_is_exact_for_piecewise_linear_networks(subject):
    context = subject.context()
    layers = weight_layers(context)
    found, expected = exact_relative_flatness(context, layers), dense_flatness(context)
    if subject.piecewise_linear:
        assert set(found) == set(expected)
    else:
        assert set(found) == {layers[-1].name}
    scale = max(map(abs, expected.values()))
    if subject.name == "saturated":  # where the dense Hessian is the rounding of differences
        scale = 1.0
    for name, value in found.items():
        assert value == pytest.approx(expected[name], rel=1e-10, abs=1e-13 * scale)


GROUPED = Case(
    "grouped",
    lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 2, 3, stride=2),
        nn.Flatten(),
        nn.Linear(8, 3),
    ),
    (2, 6, 6),
    examples=5,
)


def test_groups_of_a_convolution_are_separate_matrices():
    context = GROUPED.context()
    expected = dense_flatness(context)
    assert exact_relative_flatness(context, weight_layers(context)) == pytest.approx(expected)
    estimates = estimated_relative_flatness(
        context, weight_layers(context), probes=300, relative_error=0
    )
    for name, estimate in estimates.items():
        assert abs(estimate.value - expected[name]) < 4 * estimate.standard_error


@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn", "tied", "unused_parameter"])
def test_estimates_are_within_their_errors(name):
    context = case(name).context()
    expected = dense_flatness(context)
    found = estimated_relative_flatness(
        context, weight_layers(context), probes=200, relative_error=0
    )
    assert set(found) == set(expected)
    for layer, estimate in found.items():
        assert estimate.probes == 200
        assert abs(estimate.value - expected[layer]) < 4 * estimate.standard_error


@with_simulations(80, 2000)
def test_intervals_cover_the_flatness(simulations):
    context = case("tanh").context()
    hessian, expected = dense_hessian(context), dense_flatness(context)["0.weight"]
    context.hessian_vector_product = hessian.mv
    covered = 0
    for seed in range(simulations):
        context.seed = seed
        (estimate,) = estimated_relative_flatness(
            context, weight_layers(context)[:1], probes=32, relative_error=0
        ).values()
        reach = 1.96 * estimate.standard_error
        covered += abs(estimate.value - expected) <= reach
    assert_covers(covered, simulations)


def test_a_linear_layer_has_a_closed_form():
    """Mean of ‖x‖² tr(Wᵀ (diag p − ppᵀ) W)."""
    context = case("linear").context()
    weight = context.model.weight.detach()
    x = torch.cat([x for x, _ in context.data.batches("train")])
    p = context.logits("train").softmax(1)
    spread = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    traces = torch.einsum("cd,nce,ed->n", weight, spread, weight)
    expected = (x.square().sum(1) * traces).mean().item()
    assert flatness_of(context)["last"].value == pytest.approx(expected, rel=1e-12)


def norm_of(context):
    (value,) = FisherRaoNorm(FisherRaoNormOptions(name="fisher_rao_norm")).compute(context)
    return value.value


def test_flatness_is_at_least_the_fisher_rao_norm_and_equal_for_one_input():
    """Of linear softmax without bias, θᵀFθ = vec(W)ᵀ H vec(W)."""
    for inputs in (1, 4):
        network = nn.Linear(inputs, 3, bias=False)
        context = MeasureContext(network, random_dataset((inputs,), 12, 3), CROSS_ENTROPY)
        flatness, norm = flatness_of(context)["last"].value, norm_of(context)
        assert flatness >= norm * (1 - 1e-12)
        assert (flatness == pytest.approx(norm, rel=1e-10)) == (inputs == 1)


@pytest.mark.parametrize("method", ["exact", "estimated"])
def test_rescaling_layers_does_not_change_flatness(method):
    network, data = mlp(5, 6, 4, 3, bias=False), random_dataset((5,), 9, 3)
    found = []
    for _ in range(2):
        context = MeasureContext(network, data, CROSS_ENTROPY)
        layers = weight_layers(context)
        if method == "exact":
            found.append(exact_relative_flatness(context, layers))
        else:
            estimates = estimated_relative_flatness(context, layers, probes=8)
            found.append({name: estimate.value for name, estimate in estimates.items()})
        with torch.no_grad():
            network[0].weight *= 4
            network[2].weight *= 2
            network[4].weight /= 8
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_scaling_the_logits_changes_flatness():
    network, data = mlp(5, 6, 3), random_dataset((5,), 9, 3)
    before = flatness_of(MeasureContext(network, data, CROSS_ENTROPY))["last"].value
    with torch.no_grad():
        network[2].weight *= 2
        network[2].bias *= 2
    after = flatness_of(MeasureContext(network, data, CROSS_ENTROPY))["last"].value
    assert after != pytest.approx(before, rel=0.1)


@pytest.mark.parametrize("name", ["mlp", "tanh"])
def test_variants_name_the_last_or_every_layer(name):
    context = case(name).context()
    only = flatness_of(context)
    every = flatness_of(context, layers="all", probes=20)
    numbered = [f"layer_{rank}" for rank in range(1, len(weight_layers(context)) + 1)]
    assert list(only) == ["last"]
    assert list(every) == ["last", *numbered]
    assert every["last"].value == every[numbered[-1]].value == only["last"].value
    assert only["last"].standard_error is None
    assert (every["layer_1"].standard_error is None) == (name == "mlp")


def test_the_last_layer_need_not_return_the_logits():
    network = nn.Sequential(nn.Linear(5, 3), nn.Tanh())
    context = MeasureContext(network, random_dataset((5,), 9, 3), CROSS_ENTROPY)
    found = flatness_of(context, probes=400, relative_error=1e-9)["last"]
    expected = dense_flatness(context)["0.weight"]
    assert abs(found.value - expected) < 4 * found.standard_error


def test_networks_that_mix_examples_are_estimated():
    class Centered(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(x - x.mean(0))

    context = MeasureContext(Centered(), random_dataset((5,), 9, 3), CROSS_ENTROPY)
    found = flatness_of(context, probes=400, relative_error=1e-9)["last"]
    assert abs(found.value - dense_flatness(context)["head.weight"]) < 4 * found.standard_error


@pytest.mark.parametrize("name", ["cnn", "tanh"])
def test_neither_passes_nor_duplicated_data_change_flatness(name):
    subject = case(name)
    whole = flatness_of(subject.context(), layers="all", probes=16)
    data = subject.dataset()
    twice = Dataset(
        "twice", data.train_x.repeat(2, *[1] * (data.train_x.ndim - 1)), data.train_y.repeat(2),
        data.test_x, data.test_y, 3, "hash",
    )  # fmt: skip
    for other in (
        subject.context(examples_per_pass=3),
        MeasureContext(subject.model(), twice, CROSS_ENTROPY),
    ):
        changed = flatness_of(other, layers="all", probes=16)
        for variant, value in whole.items():
            assert changed[variant].value == pytest.approx(value.value, rel=1e-9)


def test_flatness_in_single_precision_agrees_with_double():
    for name in ("cnn", "tanh"):
        double, single = (
            flatness_of(case(name).context(dtype=dtype), layers="all", probes=16)
            for dtype in (torch.float64, torch.float32)
        )
        for variant, value in double.items():
            assert single[variant].value == pytest.approx(value.value, rel=1e-3, abs=1e-6)


def test_weights_of_zero_have_flatness_zero():
    network = mlp(5, 6, 3)
    nn.init.zeros_(network[2].weight)
    context = MeasureContext(network, random_dataset((5,), 9, 3), CROSS_ENTROPY)
    assert flatness_of(context)["last"].value == 0


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_a_network_that_diverged_gives_a_reason(activation):
    network = mlp(5, 4, 3, activation=activation)
    nn.init.constant_(network[0].weight, math.nan)
    context = MeasureContext(network, random_dataset((5,), 6, 3), CROSS_ENTROPY)
    for value in flatness_of(context, layers="all").values():
        assert math.isnan(value.value)
        assert "no finite curvature" in value.reason


def test_a_network_without_layers_gives_a_reason():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x * self.scale

    context = MeasureContext(Scale(), random_dataset((3,), 6, 3), CROSS_ENTROPY)
    (value,) = flatness_of(context).values()
    assert math.isnan(value.value)
    assert value.reason.startswith("no linear layer or convolution")


def test_a_single_probe_is_refused():
    with pytest.raises(MeasureError, match="no standard error"):
        flatness_of(case("mlp").context(), probes=1)
