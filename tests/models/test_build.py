from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models import build_model, parameter_count
from orchestrator.study.model_options import ModelOptions

IMAGES = (3, 16, 16)
CASES: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "width": 16},
    "mlp with all": {"name": "mlp", "width": 16, "normalization": "batch", "dropout": 0.2},
    "mlp with groups": {"name": "mlp", "width": 16, "normalization": "group"},
    "linear": {"name": "mlp", "depth": 0},
    "cnn": {"name": "cnn", "width": 4},
    "cnn with all": {"name": "cnn", "width": 4, "normalization": "batch", "dropout": 0.2},
    "resnet": {"name": "resnet", "depth": 14, "width": 4},
    "resnet without": {"name": "resnet", "depth": 8, "width": 4, "normalization": "none"},
    "resnet with all": {"name": "resnet", "depth": 8, "normalization": "group", "dropout": 0.2},
    "vgg": {"name": "vgg", "width": 4},
    "vgg without": {"name": "vgg", "depth": 16, "width": 4, "normalization": "none"},
    "vgg with all": {"name": "vgg", "width": 8, "normalization": "group", "dropout": 0.2},
}
each_case = pytest.mark.parametrize("case", CASES)


def options(values: dict[str, Any]) -> ModelOptions:
    return TypeAdapter(ModelOptions).validate_python(values)  # type: ignore[no-any-return]


def build(case: str, seed: int = 0, **changes: Any) -> nn.Module:
    return build_model(options(CASES[case] | changes), IMAGES, 10, seed)


def examples(count: int = 4) -> torch.Tensor:
    return torch.randn(count, *IMAGES, generator=torch.Generator().manual_seed(0))


@each_case
def test_logits_and_gradients_are_finite(case: str) -> None:
    model = build(case)
    assert model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    logits = model(examples())
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@each_case
def test_the_weights_depend_only_on_the_seed(case: str) -> None:
    torch.manual_seed(1)
    first = build(case).state_dict()
    torch.manual_seed(2)
    again, other = build(case).state_dict(), build(case, seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    weights = [name for name in first if first[name].ndim > 1]
    assert not any(torch.equal(first[name], other[name]) for name in weights)


@each_case
def test_building_leaves_the_global_random_state_alone(case: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build(case)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_float64_default_of_the_process_has_no_effect() -> None:
    expected = build("cnn").state_dict()
    torch.set_default_dtype(torch.float64)
    try:
        model = build("cnn")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name])


def test_a_default_device_of_the_process_has_no_effect() -> None:
    with torch.device("meta"):
        model = build("resnet")
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


@each_case
def test_a_snapshot_restores_the_network(case: str, tmp_path: Path) -> None:
    model, other = build(case).eval(), build(case, seed=1).eval()
    safetensors.torch.save_file(model.state_dict(), tmp_path / "s")
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "s"))
    assert torch.equal(model(examples()), other(examples()))


@each_case
def test_torch_fx_sees_every_operation(case: str) -> None:
    model = build(case).eval()
    traced = torch.fx.symbolic_trace(model)
    assert torch.equal(traced(examples()), model(examples()))
    calls = [node for node in traced.graph.nodes if node.op.startswith("call")]
    modules = [node.target for node in calls if node.op == "call_module"]
    assert len(set(modules)) == len(modules)
    others = {getattr(node.target, "__name__", node.target) for node in calls} - set(modules)
    assert others <= {"add"}
    leaves = {name for name, module in model.named_modules() if not list(module.children())}
    empty = {name for name, module in model.named_modules() if isinstance(module, nn.Sequential)}
    assert leaves - empty == set(modules)


@each_case
def test_built_in_networks_compute_in_float64_after_conversion(case: str) -> None:
    model = build(case).eval()
    precise = copy.deepcopy(model).double()
    torch.testing.assert_close(
        precise(examples().double()).float(), model(examples()), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", ["cnn", "resnet", "vgg"])
def test_image_networks_refuse_flat_examples(name: str) -> None:
    message = rf"^model '{name}': got examples of shape \(40,\), expected images .*\n.*'mlp'"
    with pytest.raises(ModelError, match=message):
        build_model(options({"name": name}), (40,), 10, 0)


def test_parameters_are_counted_once_and_only_if_trainable() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model.append(model[0])
    assert parameter_count(model) == 9 + 3 + 6
    model[1].requires_grad_(False)
    assert parameter_count(model) == 9 + 3
