import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orchestrator.measures.curvature.piecewise_linear import prove_piecewise_linear
from orchestrator.models import build_model
from orchestrator.study.model_options import CnnOptions, MlpOptions, ResnetOptions, VggOptions
from tests.measures.cases import CASES, mlp


def reason(network, shape=(5,)):
    """Why the network, in eval mode, isn't proven; empty if it is."""
    inputs = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    outcome = prove_piecewise_linear(network.eval(), inputs)
    assert outcome.proven == (outcome.reason == "")
    assert "\n" not in outcome.reason
    return outcome.reason


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_is_proven_exactly_if_it_is_piecewise_linear(case):
    assert (reason(case.model(), case.input_shape) == "") == case.piecewise_linear


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "gelu", "silu"])
@pytest.mark.parametrize("normalization", ["none", "batch", "group"])
@pytest.mark.parametrize(
    "options",
    [
        MlpOptions(width=8, dropout=0.1),
        CnnOptions(width=4, dropout=0.1),
        ResnetOptions(depth=8, width=4, dropout=0.1),
        VggOptions(width=4, dropout=0.1),
    ],
    ids=lambda options: options.name,
)
def test_built_in_networks_are_proven_depending_on_their_layers(options, normalization, activation):
    chosen = options.model_copy(update={"normalization": normalization, "activation": activation})
    found = reason(build_model(chosen, (3, 32, 32), 4, seed=0), (3, 32, 32))
    if normalization == "group":
        assert "GroupNorm" in found or activation in found.lower()
    elif activation in {"relu", "leaky_relu"}:
        assert found == ""
    else:
        assert activation in found.lower()


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.LayerNorm(5), "LayerNorm"),
        (nn.Softmax(1), "Softmax"),
        (nn.Sigmoid(), "Sigmoid"),
        (nn.ELU(), "ELU"),
        (nn.Hardswish(), "Hardswish"),
    ],
)
def test_unlisted_layers_are_not_proven(layer, name):
    found = reason(nn.Sequential(nn.Linear(5, 5), layer, nn.Linear(5, 3)))
    assert found == f"{name} (layer '1') isn't known to be piecewise linear"


def test_training_mode_is_not_proven():
    network = nn.Sequential(nn.Linear(5, 5), nn.Dropout(), nn.Linear(5, 3))
    outcome = prove_piecewise_linear(network.train(), torch.randn(2, 5))
    assert "training mode" in outcome.reason


def test_batch_normalization_without_running_statistics_is_not_proven():
    network = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5, track_running_stats=False))
    assert "normalizes by batch statistics" in reason(network)


def test_a_trainable_layer_called_twice_is_not_proven():
    layer = nn.Linear(5, 5)
    assert "in more than one place" in reason(nn.Sequential(layer, nn.ReLU(), layer))


def test_a_frozen_layer_may_be_called_twice():
    layer = nn.Linear(5, 5).requires_grad_(False)
    assert reason(nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(5, 3))) == ""


def test_a_layer_without_parameters_may_be_called_twice():
    relu = nn.ReLU()
    network = nn.Sequential(nn.Linear(5, 5), relu, nn.Linear(5, 5), relu, nn.Linear(5, 3))
    assert reason(network) == ""


def test_parametrized_weights_are_not_proven():
    network = mlp(5, 5, 3)
    nn.utils.parametrizations.weight_norm(network[0])
    assert "ParametrizedLinear" in reason(network)


def test_hooks_that_change_the_output_of_a_layer_are_not_proven():
    network = mlp(5, 5, 3)
    network[0].register_forward_hook(lambda module, inputs, output: output.tanh())
    assert "has hooks" in reason(network)


def test_a_forward_replaced_on_the_instance_is_not_proven():
    network = mlp(5, 5, 3)
    network[1].forward = torch.tanh
    assert "replaced forward pass" in reason(network)


class Forward(nn.Module):
    """A network whose forward pass is given."""

    def __init__(self, forward):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)
        self.weights = [nn.Parameter(torch.ones(5))]
        self.own = forward

    def forward(self, x):
        return self.own(self, x)


class Reversed(torch.autograd.Function):
    """The identity, with the opposite of its derivative."""

    @staticmethod
    def forward(ctx, x):
        return x.reshape(x.shape)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def branching(network, x):
    if x.sum() > 0:
        return network.second(x)
    return network.second(network.first(x))


def random(network, x):
    return network.second(network.first(x) + torch.rand(5))


def failing_when_run(network, x):
    return network.second(network.first(x).reshape(7, 5))


def failing(network, x):
    raise KeyError("nothing here")


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (branching, "torch.fx cannot trace the network"),
        (failing, "torch.fx cannot trace the network"),
        (failing_when_run, "cannot be run on a sample"),
        (random, "differ from those of the torch.fx graph"),
        (lambda m, x: m.second(Reversed.apply(m.first(x))), "Reversed defines a custom derivative"),
        (lambda m, x: m.second(m.first(x) + m.weights[0].tanh()), "before the forward pass"),
        (lambda m, x: (m.second(x), m.first(x)), "isn't one matrix of logits"),
        (lambda m, x: m.second(m.first(x)).unsqueeze(1), "isn't one matrix of logits"),
        (lambda m, x: m.second.weight, "isn't one matrix of logits"),
        (lambda m, x: m.second(F.relu(m.first(m.weights[0].detach()))), "not applied to examples"),
    ],
)
def test_untraceable_or_unknown_forward_passes_are_not_proven(forward, expected):
    assert expected in reason(Forward(forward))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x, offset=0.0):
        return self.layer(x) + offset


def test_a_second_input_is_not_proven():
    assert "second input, 'offset'" in reason(TwoInputs())


def test_one_example_suffices_and_the_network_stays_unchanged():
    network = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True)).eval()
    inputs = torch.randn(1, 5)
    before = inputs.clone(), [value.clone() for value in network.state_dict().values()]
    assert prove_piecewise_linear(network, inputs).proven
    assert torch.equal(inputs, before[0])
    for value, old in zip(network.state_dict().values(), before[1], strict=True):
        assert torch.equal(value, old)


def test_the_proof_works_inside_no_grad():
    """A derivative of one's own is found although gradients are switched off."""
    with torch.no_grad():
        assert reason(mlp(5, 4, 3)) == ""
        assert "Reversed" in reason(Forward(lambda m, x: m.second(Reversed.apply(m.first(x)))))
