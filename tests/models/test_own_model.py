from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from orchestrator.errors import ModelError
from orchestrator.models import build_model, parameter_count
from orchestrator.study.options import CustomOptions

SOURCE = """
import math

import torch
from torch import nn

from orchestrator.errors import ModelError


def linear(input_shape, classes, scale=1.0):
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))
    with torch.no_grad():
        model[1].weight.mul_(scale)
    return model


def normalized(input_shape, classes):
    return nn.Sequential(nn.BatchNorm2d(input_shape[0]), linear(input_shape, classes)).double()


def lazy(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


def evaluating(input_shape, classes):
    return linear(input_shape, classes).eval()


def no_module(input_shape, classes):
    return lambda x: x


def few_logits(input_shape, classes):
    return linear(input_shape, classes - 1)


class Pair(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x), x


def pair(input_shape, classes):
    return Pair(linear(input_shape, classes))


class Labels(Pair):
    def forward(self, x):
        return self.inner(x).long()


def labels(input_shape, classes):
    return Labels(linear(input_shape, classes))


def tied(input_shape, classes):
    square = nn.Linear(8, 8)
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), square, square, nn.Linear(8, classes))


def overlapping(input_shape, classes):
    model = tied(input_shape, classes)
    model[1] = nn.Linear(math.prod(input_shape), 8)
    model[3] = nn.Linear(8, 8)
    model[3].weight = nn.Parameter(model[2].weight.detach().t())
    return model


def shadowed(input_shape, classes):
    model = linear(input_shape, classes)
    model.weights = [model[1].weight.detach()[0]]
    return model


def complex(input_shape, classes):
    model = linear(input_shape, classes)
    model[1].phase = nn.Parameter(torch.zeros(3, dtype=torch.cfloat))
    return model


class Half(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer.bfloat16()

    def forward(self, x):
        return self.layer(x.flatten(1).bfloat16()).float()


def half(input_shape, classes):
    return Half(nn.Linear(math.prod(input_shape), classes))


class Rotated(nn.Module):
    def __init__(self, layer, width):
        super().__init__()
        self.layer = layer
        self.register_buffer("turn", torch.polar(torch.ones(width), torch.arange(1.0 * width)))
        self.register_buffer("order", torch.arange(width).flip(0))
        self.register_buffer("mask", torch.arange(width) > 2)

    def forward(self, x):
        x = (x.flatten(1) * self.turn).real[:, self.order] * self.mask
        return self.layer(x)


def rotated(input_shape, classes):
    width = math.prod(input_shape)
    return Rotated(nn.Linear(width, classes), width).double()


def mismatched(input_shape, classes):
    return nn.Linear(4, classes)


def failing(input_shape, classes):
    raise ValueError("no such variant")


def refusing(input_shape, classes):
    raise ModelError("images only", "choose images")
"""


@pytest.fixture(autouse=True)
def _my_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)


def build(function: str, seed: int = 0, **arguments: object) -> torch.nn.Module:
    options = CustomOptions(name=f"my_networks:{function}", **arguments)
    return build_model(options, (2, 3, 3), 5, seed)


def test_the_weights_depend_only_on_the_seed() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build("linear").state_dict()["1.weight"]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(build("linear").state_dict()["1.weight"], first)
    assert not torch.equal(build("linear", seed=1).state_dict()["1.weight"], first)


def test_further_keys_are_passed_as_arguments() -> None:
    plain, scaled = (build("linear", scale=scale).state_dict() for scale in (1.0, 4.0))
    assert torch.equal(scaled["1.weight"], 4 * plain["1.weight"])


def test_a_custom_network_is_in_float32_and_unchanged_by_the_trial_pass() -> None:
    model = build("normalized")
    assert model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    statistics = model.state_dict()["0.running_mean"], model.state_dict()["0.running_var"]
    assert torch.equal(torch.stack(statistics), torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert model.state_dict()["0.num_batches_tracked"] == 0
    assert not build("evaluating").training


def test_lazy_layers_are_initialized_reproducibly() -> None:
    first, second = (build("lazy").state_dict()["1.weight"] for _ in range(2))
    assert first.shape == (5, 18)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_module", r"returned a function, expected a torch\.nn\.Module"),
        (
            "few_logits",
            r"forward\(\) returned torch\.float32 of shape \(2, 4\), expected .* \(2, 5\)",
        ),
        ("pair", r"forward\(\) returned a tuple, expected logits of shape \(2, 5\)"),
        ("labels", r"forward\(\) returned torch\.int64 of shape \(2, 5\), expected logits"),
        (
            "overlapping",
            r"2\.weight and 3\.weight are different tensors in the same memory.*\n.*F\.linear",
        ),
        ("shadowed", r"(1\.weight|weights\[0\]) and (1\.weight|weights\[0\]) are different"),
        ("complex", r"parameter 1\.phase is of type torch\.complex64.*\n.*view_as_real"),
        ("half", r"raised RuntimeError .*\n.*torch\.bfloat16 were converted to torch\.float32"),
        ("mismatched", r"raised RuntimeError on examples of shape \(2, 2, 3, 3\): "),
        ("failing", r"raised ValueError: no such variant \(called with input_shape, classes\)"),
    ],
)
def test_unusable_networks_are_refused(function: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"^model 'my_networks:{function}': {message}"):
        build(function)


def test_a_layer_may_occur_under_several_names() -> None:
    model = build("tied")
    assert model[2] is model[3]
    assert parameter_count(model) == 18 * 8 + 8 + 8 * 8 + 8 + 8 * 5 + 5


def test_complex_integer_and_boolean_buffers_keep_their_types() -> None:
    model = build("rotated")
    kinds = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    assert kinds == {
        "layer.weight": torch.float32,
        "layer.bias": torch.float32,
        "turn": torch.complex64,
        "order": torch.int64,
        "mask": torch.bool,
    }
    assert model.turn.imag.abs().max() > 0.5


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(ModelError, match=r"TypeError: .*'depth' \(called .* classes, depth\)"):
        build("linear", depth=3)


def test_user_errors_of_a_custom_network_are_passed_on() -> None:
    with pytest.raises(ModelError, match=r"^images only\n  hint: choose images$"):
        build("refusing")
