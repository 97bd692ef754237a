import math
from importlib import import_module

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import exact_trace, proof
from orchestrator.models import build_model
from orchestrator.study.model_options import CnnOptions, MlpOptions, ResnetOptions
from orchestrator.study.training_options import MultiMarginOptions
from orchestrator.training import build_loss
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, mlp, random_dataset
from tests.measures.references import dense_hessian

# The package exports a function of the same name.
module = import_module("orchestrator.measures.curvature.exact_trace")

PROVEN = [case for case in CASES if case.piecewise_linear]


def dense_traces(context):
    """The trace of each parameter's block of the dense Hessian."""
    diagonal = dense_hessian(context).diagonal()
    parts = diagonal.split([p.numel() for p in context.parameters.values()])
    return {name: part.sum().item() for name, part in zip(context.parameters, parts, strict=True)}


def assert_equals_dense(context):
    found = exact_trace(context)
    expected = dense_traces(context)
    scale = max(map(abs, expected.values()))
    assert found.total == pytest.approx(sum(expected.values()), rel=1e-10, abs=1e-12 * scale)
    assert found.per_parameter == pytest.approx(expected, rel=1e-10, abs=1e-12 * scale)
    return found


@pytest.mark.parametrize("case", PROVEN, ids=lambda case: case.name)
def test_the_exact_trace_equals_that_of_the_dense_hessian(case):
    context = case.context()
    found = exact_trace(context)
    if case.name == "saturated":
        # The dense Hessian subtracts nearly equal numbers there; see the closed forms below.
        expected = sum(dense_traces(context).values())
        assert found.total == pytest.approx(expected, rel=1e-6)
        return
    assert_equals_dense(context)


BUILT_IN = {
    "mlp": MlpOptions(width=5, depth=2),
    "mlp_batch_norm": MlpOptions(width=5, depth=1, normalization="batch"),
    "cnn": CnnOptions(width=2, depth=1, activation="leaky_relu"),
    "cnn_batch_norm": CnnOptions(width=2, depth=1, normalization="batch", dropout=0.5),
    "resnet": ResnetOptions(depth=8, width=2, normalization="batch"),
}


@pytest.mark.parametrize("options", BUILT_IN.values(), ids=BUILT_IN)
def test_the_exact_trace_of_built_in_networks_equals_the_dense_one(options):
    shape = (1, 6, 6)
    network = build_model(options, shape, 3, seed=0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 2)
    assert_equals_dense(MeasureContext(network, random_dataset(shape, 5, 3), CROSS_ENTROPY))


@pytest.mark.parametrize("p", [1, 2])
def test_the_exact_trace_of_hinge_losses_equals_the_dense_one(p):
    loss = build_loss(MultiMarginOptions(name="multi_margin", p=p))
    found = assert_equals_dense(Case("hinge", lambda: mlp(5, 6, 3), loss=loss).context())
    assert (found.total == 0) == (p == 1)


class Indefinite:
    """A loss that isn't convex in the logits."""

    def per_example(self, logits, labels):
        return logits[:, 0] * logits[:, 1] - 0.3 * logits.square().sum(1) + logits.sin().sum(1)


@pytest.mark.parametrize("network", ["mlp", "cnn", "residual_batch_norm"])
def test_a_loss_may_have_negative_curvature(network):
    found = case(network)
    context = MeasureContext(found.model(), found.dataset(), Indefinite())
    assert exact_trace(context).per_example.min() < 0
    assert_equals_dense(context)


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual_batch_norm", "squared_hinge"])
def test_the_trace_of_each_example_is_that_of_a_data_set_of_it_alone(name):
    """The trace of one example is that of a data set of this example alone."""
    chosen = case(name)
    data = chosen.dataset()
    found = exact_trace(chosen.context()).per_example
    assert found.dtype == torch.float64
    for i in (0, 5):
        one = Dataset(
            "one", data.train_x[i : i + 1], data.train_y[i : i + 1], data.test_x, data.test_y, 3, ""
        )
        alone = exact_trace(MeasureContext(chosen.model(), one, chosen.loss))
        assert found[i].item() == pytest.approx(alone.total, rel=1e-12)
    assert exact_trace(chosen.context()).total == pytest.approx(found.mean().item(), rel=1e-13)


@pytest.mark.parametrize("name", ["mlp", "cnn", "squared_hinge"])
def test_the_exact_trace_does_not_depend_on_how_examples_are_divided(name, monkeypatch):
    whole = exact_trace(case(name).context())
    passes = exact_trace(case(name).context(examples_per_pass=3))
    monkeypatch.setattr("orchestrator.measures.curvature.example_gradients.NUMBERS_ON_CPU", 1)
    singles = exact_trace(case(name).context())
    for other in (passes, singles):
        assert other.total == pytest.approx(whole.total, rel=1e-13)
        torch.testing.assert_close(other.per_example, whole.per_example, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual_batch_norm", "mse"])
def test_the_exact_trace_in_single_precision_agrees_with_double(name):
    double = exact_trace(case(name).context())
    single = exact_trace(case(name).context(dtype=torch.float32))
    assert single.total == pytest.approx(double.total, rel=1e-5)


# Closed forms


def linear_context(logit_gap, x=(3.0, 4.0)):
    """One example of two classes, whose margin is ``logit_gap``, without biases."""
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[logit_gap / x[0], 0.0], [0.0, 0.0]]))
    inputs, labels = torch.tensor([x]), torch.tensor([0])
    data = Dataset("one", inputs, labels, inputs, labels, 2, "")
    network = network.double()
    with torch.no_grad():
        network.weight[0, 0] = logit_gap / x[0]
    return MeasureContext(network, data, CROSS_ENTROPY)


@pytest.mark.parametrize("margin", [-50.0, 0.0, 1.0, 5.0, 17.0, 37.0, 40.0, 100.0, 600.0])
def test_the_trace_of_binary_logistic_regression_is_exact_at_any_margin(margin):
    """Σ p_c (1 − p_c) ‖x‖² = 2 σ(γ) σ(−γ) ‖x‖², where 1 − p by subtraction is 0 from γ = 37."""
    found = exact_trace(linear_context(margin)).total
    gamma = 3.0 * (margin / 3.0)
    expected = 2 * 25 / (2 + 2 * math.cosh(gamma))
    assert found == pytest.approx(expected, rel=1e-10)
    assert found > 0


def test_the_trace_of_linear_softmax_has_a_closed_form():
    """Mean of (1 − ‖p‖²)‖x‖², and (1 − ‖p‖²) for the bias."""
    context = case("linear").context()
    found = exact_trace(context).per_parameter
    inputs = torch.cat([x for x, _ in context.data.batches("train")])
    spread = 1 - context.logits("train").softmax(1).square().sum(1)
    assert found["weight"] == pytest.approx((spread * inputs.square().sum(1)).mean().item())
    assert found["bias"] == pytest.approx(spread.mean().item())


def test_rescaling_layers_of_a_relu_network_changes_the_blocks_as_dinh_predicts():
    """Dinh et al.: W₁ → αW₁, W₂ → W₂/α leaves the function, and divides the blocks by α², 1/α²."""
    network = mlp(5, 6, 3, bias=False)
    before = exact_trace(MeasureContext(network, random_dataset((5,), 9, 3), CROSS_ENTROPY))
    with torch.no_grad():
        network[0].weight *= 4
        network[2].weight /= 4
    after = exact_trace(MeasureContext(network, random_dataset((5,), 9, 3), CROSS_ENTROPY))
    assert after.per_parameter["0.weight"] == pytest.approx(before.per_parameter["0.weight"] / 16)
    assert after.per_parameter["2.weight"] == pytest.approx(before.per_parameter["2.weight"] * 16)


def test_duplicating_the_data_does_not_change_the_trace():
    data = random_dataset((5,), 8, 3)
    twice = Dataset(
        "twice", data.train_x.repeat(2, 1), data.train_y.repeat(2), data.test_x, data.test_y, 3, ""
    )
    once, doubled = (
        exact_trace(MeasureContext(case("mlp").model(), d, CROSS_ENTROPY)).total
        for d in (data, twice)
    )
    assert doubled == pytest.approx(once, rel=1e-13)


# Networks that are wired in unusual ways


class Loose(nn.Module):
    """Parameters that belong to no layer with a short way to its norms."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.slope = nn.PReLU(4)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 4))
        self.matrix = nn.Parameter(torch.linspace(-1, 1, 12).reshape(4, 3))
        self.by_hand = nn.Linear(3, 3)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x):
        x = self.slope(self.first(x)) * self.scale @ self.matrix
        return F.linear(x, self.by_hand.weight, self.by_hand.bias)


class Subclass(nn.Linear):
    """A linear layer that does something else with its weight."""

    def forward(self, x):
        return F.linear(x, 0.5 * self.weight, self.bias)


class PartlyFrozen(nn.Module):
    """A backbone that is run without gradients."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(5, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(F.relu(x))


def with_frozen_parameters():
    network = mlp(5, 6, 4, 3)
    network[0].weight.requires_grad_(False)
    network[2].bias.requires_grad_(False)
    network[4].requires_grad_(False)
    return network


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu1(self.first(x))
        y = self.second(x)
        y += x
        return self.head(self.relu2(y))


UNUSUAL = {
    "loose": Loose,
    "subclass": lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), Subclass(4, 3)),
    "without_gradient": PartlyFrozen,
    "frozen_parameters": with_frozen_parameters,
    "in_place": InPlace,
    "wide_input": lambda: nn.Sequential(
        nn.Unflatten(1, (5, 1)), nn.Linear(1, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
    ),
}


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, Indefinite()], ids=["convex", "indefinite"])
@pytest.mark.parametrize("build", UNUSUAL.values(), ids=UNUSUAL)
def test_the_exact_trace_of_unusual_wiring_equals_the_dense_one(build, loss):
    assert_equals_dense(Case("unusual", build, loss=loss).context())


def test_the_exact_trace_leaves_the_network_unchanged():
    context = case("residual_batch_norm").context()
    state = {name: value.clone() for name, value in context.model.state_dict().items()}
    exact_trace(context)
    for name, value in context.model.state_dict().items():
        assert torch.equal(value, state[name])
    assert all(p.grad is None for p in context.parameters.values())
    assert not any(layer._forward_hooks for layer in context.model.modules())


# Refusals


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.piecewise_linear], ids=lambda case: case.name
)
def test_networks_without_a_proof_are_refused(case):
    with pytest.raises(MeasureError, match="piecewise linear in each parameter") as error:
        exact_trace(case.context())
    assert proof(case.context()).reason in error.value.message
    assert "hutchinson" in error.value.hint


@pytest.mark.parametrize("name", ["tanh", "gelu", "tied", "group_norm"])
def test_the_trace_of_refused_networks_would_have_been_wrong(name, monkeypatch):
    """The Gauss-Newton trace of such a network is not that of its Hessian."""
    context = case(name).context()
    truth = dense_hessian(context).trace().item()
    monkeypatch.setattr(module, "proof", lambda context: module.Proof(True))
    assert abs(exact_trace(context).total / truth - 1) > 1e-4


def test_a_network_that_diverged_has_no_trace():
    network = case("mlp").model()
    with torch.no_grad():
        network[0].weight[0, 0] = float("nan")
    for loss in (CROSS_ENTROPY, case("mse").loss, Indefinite()):
        found = exact_trace(MeasureContext(network, random_dataset((5,), 4, 3), loss))
        assert math.isnan(found.total)
