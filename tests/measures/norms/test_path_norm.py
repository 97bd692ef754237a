from __future__ import annotations

from itertools import product
from math import isnan, prod, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.path_norm import PathNorm
from orchestrator.models import build_model
from orchestrator.study.measure_options.norms import PathNormOptions
from orchestrator.study.model_options import CnnOptions, MlpOptions, ResnetOptions
from tests.measures.cases import (
    CROSS_ENTROPY,
    Case,
    Residual,
    case,
    mlp,
    random_dataset,
    randomize_batch_norm,
)

MEASURE = PathNorm(PathNormOptions(name="path_norm"))


def measured(model: nn.Module, shape: tuple[int, ...] = (5,), classes: int = 3) -> Value:
    (value,) = MEASURE.compute(
        MeasureContext(model, random_dataset(shape, 4, classes), CROSS_ENTROPY)
    )
    assert (value.measure, value.split, value.variant) == ("path_norm", None, "")
    return value


def found(model: nn.Module, shape: tuple[int, ...] = (5,), classes: int = 3) -> float:
    value = measured(model, shape, classes)
    assert value.reason is None
    return value.value


def paths_of_mlp(model: nn.Sequential) -> float:
    """Σ Π w² path by path: from each input, and from each bias."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().double() for layer in layers]

    total = 0.0
    sizes = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    for start in range(len(sizes)):  # 0: an input; l: a bias of layer l
        if start > 0 and layers[start - 1].bias is None:
            continue
        for units in product(*(range(size) for size in sizes[start:])):
            begin = 1.0 if start == 0 else float(layers[start - 1].bias.detach()[units[0]]) ** 2
            edges = zip(weights[start:], units[:-1], units[1:], strict=True)
            total += begin * prod(float(w[j, i]) ** 2 for w, i, j in edges)
    return total


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (2, 3, 2, 3)])
def test_the_path_norm_of_an_mlp_sums_over_all_paths(sizes: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(3)
    model = mlp(*sizes, bias=bias)
    expected = sqrt(paths_of_mlp(model))
    assert found(model, sizes[:1], sizes[-1]) == pytest.approx(expected, rel=1e-12)


def test_the_path_norm_of_a_cnn_sums_over_all_paths() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    kernel, bias = (p.detach().double() for p in model[0].parameters())
    weight, last = (p.detach().double() for p in model[3].parameters())
    total = 0.0
    for logit, channel, row, column in product(range(2), repeat=4):
        unit = channel * 4 + row * 2 + column
        onward = float(weight[logit, unit]) ** 2
        total += float(bias[channel]) ** 2 * onward
        for a, b in product(range(2), repeat=2):  # each pixel that this unit sees
            total += float(kernel[channel, 0, a, b]) ** 2 * onward
    total += float(last.square().sum())
    assert found(model, (1, 3, 3), 2) == pytest.approx(sqrt(total), rel=1e-12)


class Skip(nn.Module):
    """W₃ (x + W₂ relu(W₁ x)), without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False)
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.second(torch.relu(self.first(x))))


def test_paths_around_a_skip_connection_are_included() -> None:
    model = Skip().double()
    one, two, three = (p.detach().square() for p in model.parameters())
    total = (three @ (torch.eye(4).double() + two @ one)).sum().item()
    assert found(model, (4,), 2) == pytest.approx(sqrt(total), rel=1e-12)


def test_pooling_passes_sums_through_unchanged() -> None:
    """Maximum and mean of the sums at four pixels: equal, as all see the same."""
    for pool in (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), pool, nn.Flatten(), nn.Linear(2, 2))
        sums = model[0].weight.detach().double().square().sum((1, 2, 3))
        sums = sums + model[0].bias.detach().double().square()
        squared = model[4].weight.detach().double().square() @ sums
        total = (squared + model[4].bias.detach().double().square()).sum().item()
        assert found(model, (1, 3, 3), 2) == pytest.approx(sqrt(total), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(factors=st.lists(st.floats(0.1, 10), min_size=6, max_size=6))
def test_rescaling_nodes_does_not_change_the_path_norm(factors: list[float]) -> None:
    model = Case("mlp", lambda: mlp(5, 6, 3)).model().double()
    before = found(model)
    scale = torch.tensor(factors, dtype=torch.float64)
    with torch.no_grad():
        model[0].weight.mul_(scale[:, None])
        model[0].bias.mul_(scale)
        model[2].weight.div_(scale)
    assert found(model) == pytest.approx(before, rel=1e-11)


def test_permuting_and_negating_do_not_change_the_path_norm() -> None:
    model = case("mlp").model()
    before = found(model)
    order = torch.randperm(6)
    with torch.no_grad():
        first, second = model.get_submodule("0"), model.get_submodule("2")
        first.get_parameter("weight").copy_(-first.get_parameter("weight")[order])
        first.get_parameter("bias").copy_(first.get_parameter("bias")[order])
        second.get_parameter("weight").copy_(second.get_parameter("weight")[:, order])
    assert found(model) == pytest.approx(before, rel=1e-12)


def test_batch_normalization_counts_as_in_the_folded_network() -> None:
    torch.manual_seed(6)
    model = Residual(normalize=True).double().eval()
    folded = Residual().double().eval()
    folded.head = model.head
    for layer, norm in (("stem", "norm0"), ("first", "norm1"), ("second", "norm2")):
        fused = fuse_conv_bn_eval(getattr(model, layer), getattr(model, norm))
        setattr(folded, layer, fused)
    shape = (1, 6, 6)
    assert found(model, shape) == pytest.approx(found(folded, shape), rel=1e-12)


@pytest.mark.parametrize("affine", [True, False])
def test_the_scale_before_a_batch_normalization_does_not_count(affine: bool) -> None:
    torch.manual_seed(7)
    norm = nn.BatchNorm1d(6, affine=affine, eps=0.0)
    norm.running_mean = torch.randn(6)
    norm.running_var = torch.rand(6) + 0.5
    model = nn.Sequential(nn.Linear(5, 6, bias=False), norm, nn.ReLU(), nn.Linear(6, 3))
    model = model.double().eval()
    before = found(model)
    folded = fuse_linear_bn_eval(model[0], model[1]) if affine else None
    if folded is not None:
        plain = nn.Sequential(folded, nn.ReLU(), model[3])
        assert found(plain) == pytest.approx(before, rel=1e-12)
    with torch.no_grad():
        model[0].weight.mul_(3)
        norm.running_mean.mul_(3)
        norm.running_var.mul_(9)
    assert found(model) == pytest.approx(before, rel=1e-12)


OPTIONS = {
    "mlp": MlpOptions(width=5, depth=2),
    "mlp_batch_norm": MlpOptions(width=5, depth=1, normalization="batch"),
    "cnn": CnnOptions(width=2, depth=1, dropout=0.5),
    "resnet": ResnetOptions(depth=8, width=2, normalization="batch"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_built_in_networks_have_a_path_norm(
    options: MlpOptions | CnnOptions | ResnetOptions,
) -> None:
    shape = (1, 6, 6)
    value = found(randomize_batch_norm(build_model(options, shape, 3, seed=0)), shape)
    assert 0 < value < float("inf")


class Scaled(nn.Module):
    def __init__(self, change: str) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.constant = torch.ones(3)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.layer(x)
        return {
            "mul": lambda: z * 2.0,
            "sub": lambda: torch.sub(z, z),
            "adds": lambda: z + 1.0,
            "constant": lambda: z + self.constant,
        }[self.change]()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (mlp(5, 4, 3, activation=nn.Tanh), "Tanh (layer '1') isn't known to be piecewise linear"),
        (mlp(5, 4, 3, activation=nn.LeakyReLU), "LeakyReLU (layer '1') is not supported"),
        (mlp(5, 4, 3, activation=nn.PReLU), "PReLU (layer '1') is not supported"),
        (case("tied").model(), "enters in more than one place"),
        (case("group_norm").model(), "GroupNorm"),
        (Scaled("mul"), "mul (operation 'mul') is not supported"),
        (Scaled("sub"), "sub (operation 'sub') is not supported"),
        (Scaled("adds"), "'add' adds a constant"),
        (Scaled("constant"), "it uses the constant "),
    ],
)
def test_the_path_norm_is_undefined_for_other_networks(model: nn.Module, reason: str) -> None:
    value = measured(model)
    assert isnan(value.value)
    assert "the path norm is undefined for this network" in str(value.reason)
    assert reason in str(value.reason)


def test_a_network_that_diverged_gives_a_reason() -> None:
    model = mlp(5, 4, 3)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    value = measured(model)
    assert isnan(value.value)
    assert value.reason == "the sum over paths overflows or is NaN"


def test_the_path_norm_leaves_the_network_unchanged() -> None:
    context = case("residual_batch_norm").context()
    state = {name: value.clone() for name, value in context.model.state_dict().items()}
    list(MEASURE.compute(context))
    for name, value in context.model.state_dict().items():
        assert torch.equal(value, state[name])
    assert all(parameter.requires_grad for parameter in context.model.parameters())
