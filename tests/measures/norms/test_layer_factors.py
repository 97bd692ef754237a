from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_pre_hook

from orchestrator.errors import MeasureError
from orchestrator.measures import measure_snapshot
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.layer_factors import (
    frobenius_product,
    layer_factors,
    spectral_product,
)
from tests.measures.cases import CROSS_ENTROPY, case, classes_of, mlp, random_dataset
from tests.measures.norms.test_operator_norm import dense
from tests.measures.requested import requests


def of_model(model: nn.Module, *input_shape: int) -> MeasureContext:
    shape = input_shape or (5,)
    data = random_dataset(shape, 4, classes_of(model, shape))
    return MeasureContext(model, data, CROSS_ENTROPY)


def norm(weight: Tensor, order: int | None = None) -> float:
    return torch.linalg.norm(weight.detach().double(), order).item()


def test_factors_of_linear_layers_are_the_norms_of_their_matrices() -> None:
    model = mlp(5, 6, 4, 3)
    factors = layer_factors(of_model(model))
    assert [factor.name for factor in factors] == ["0", "2", "4"]
    for factor in factors:
        weight = model[int(factor.name)].weight
        assert factor.spectral == pytest.approx(norm(weight, 2), rel=1e-12)
        assert factor.frobenius == pytest.approx(norm(weight), rel=1e-12)
    context = of_model(model)
    assert spectral_product(context) == pytest.approx(prod(f.spectral for f in factors))
    assert frobenius_product(context) == pytest.approx(prod(f.frobenius for f in factors))


def test_factors_of_convolutions_depend_on_their_image_size() -> None:
    context = case("cnn").context()
    first, second, head = layer_factors(context)
    model = context.model
    assert first.spectral == pytest.approx(norm(dense(model[0], (1, 6, 6)), 2), rel=1e-6)
    assert second.spectral == pytest.approx(norm(dense(model[3], (3, 3, 3)), 2), rel=1e-6)
    assert first.frobenius == pytest.approx(norm(model[0].weight))
    assert head.spectral == pytest.approx(norm(model[6].weight, 2))


def test_products_of_identities_are_1_and_bound_the_product_of_matrices() -> None:
    identity = mlp(3, 3, 3, bias=False)
    for layer in (identity[0], identity[2]):
        nn.init.eye_(layer.weight)
    assert spectral_product(of_model(identity, 3)) == pytest.approx(1)
    deep = nn.Sequential(*[nn.Linear(5, 5) for _ in range(4)])
    product = torch.linalg.multi_dot([layer.weight.detach().double() for layer in deep])
    assert spectral_product(of_model(deep)) >= norm(product, 2)
    assert frobenius_product(of_model(deep)) >= spectral_product(of_model(deep))


def test_batch_normalization_counts_as_a_diagonal_map() -> None:
    context = case("mlp_batch_norm").context()
    normalization = context.model[1]
    scale = normalization.weight.detach() / (normalization.running_var + normalization.eps).sqrt()
    factor = layer_factors(context)[1]
    assert factor.name == "1"
    assert factor.spectral == factor.frobenius == pytest.approx(norm(torch.diag(scale), 2))


@pytest.mark.parametrize("alpha", [0.25, 3.0])
def test_the_scale_of_weights_before_batch_normalization_cancels(alpha: float) -> None:
    model = case("residual_batch_norm").model().double()
    for normalization in (model.norm0, model.norm1, model.norm2):
        normalization.eps = 0.0
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    logits = model.eval()(x)
    before = of_model(model, 1, 6, 6)
    pairs = [(model.stem, model.norm0), (model.first, model.norm1), (model.second, model.norm2)]
    with torch.no_grad():
        for convolution, normalization in pairs:
            convolution.weight.mul_(alpha)
            normalization.running_mean.mul_(alpha)
            normalization.running_var.mul_(alpha**2)
    torch.testing.assert_close(model(x), logits)
    after = of_model(model, 1, 6, 6)
    assert spectral_product(after) == pytest.approx(spectral_product(before), rel=1e-6)
    assert frobenius_product(after) == pytest.approx(frobenius_product(before), rel=1e-12)


def test_group_and_layer_normalization_count_with_their_learned_scale() -> None:
    context = case("group_norm").context()
    with torch.no_grad():
        context.model[1].weight[2] = -3.0
    factor = layer_factors(context)[1]
    assert factor.spectral == factor.frobenius == 3
    plain = nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6, elementwise_affine=False))
    assert layer_factors(of_model(plain))[1].spectral == 1


def test_prelu_counts_with_its_steepest_slope() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.PReLU(2 * 3), nn.Linear(6, 3))
    assert layer_factors(of_model(model))[1].spectral == 1
    with torch.no_grad():
        model[1].weight[4] = -2.5
    assert layer_factors(of_model(model))[1].spectral == 2.5


def test_factors_count_calls_not_modules() -> None:
    assert [f.name for f in layer_factors(case("unused_parameter").context())] == ["first", "head"]

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x))

    model = Twice()
    assert spectral_product(of_model(model)) == pytest.approx(norm(model.layer.weight, 2) ** 2)
    tied = case("tied").context()
    assert [f.name for f in layer_factors(tied)] == ["first", "second", "head"]


def test_a_convolution_at_two_sizes_has_two_norms() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 3, padding=1, bias=False)
            self.pool, self.flatten = nn.AvgPool2d(3), nn.Flatten()

        def forward(self, x: Tensor) -> Tensor:
            return self.flatten(self.convolution(self.pool(self.convolution(x))))

    model = Pyramid()
    large, small = layer_factors(of_model(model, 1, 6, 6))
    assert large.spectral == pytest.approx(norm(dense(model.convolution, (1, 6, 6)), 2), rel=1e-6)
    assert small.spectral == pytest.approx(norm(dense(model.convolution, (1, 2, 2)), 2), rel=1e-6)
    assert large.spectral > 1.01 * small.spectral


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrized_layers_count_with_the_weight_they_use(kind: str) -> None:
    parametrize = getattr(nn.utils.parametrizations, kind)
    model = nn.Sequential(
        parametrize(nn.Conv2d(1, 3, 2)), nn.Flatten(), parametrize(nn.Linear(3, 3))
    )
    context = of_model(model, 1, 2, 2)
    convolution, linear = layer_factors(context)
    assert convolution.spectral == pytest.approx(norm(context.model[0].weight.flatten(1), 2))
    assert linear.spectral == pytest.approx(norm(context.model[2].weight, 2))


class Using(nn.Module):
    """Two layers of PyTorch or of one's own, used as a function says."""

    def __init__(self, use: Callable[[Using, Tensor], Tensor], layer: type[nn.Linear]) -> None:
        super().__init__()
        self.first, self.second, self.use = layer(5, 5), nn.Linear(5, 3), use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, x)


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def tied_decoder(model: Using, x: Tensor) -> Tensor:
    return model.second(F.linear(model.first(x).relu(), model.first.weight.t()))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("use", "layer", "name"),
    [
        (tied_decoder, nn.Linear, "first.weight"),
        (lambda m, x: m.second(F.linear(x, m.first.weight) + m.first(x)), nn.Linear, "first.w"),
        (lambda m, x: m.second(F.linear(x, m.first.weight)), nn.Linear, "first.weight"),
        (lambda m, x: m.second(m.first(input=x)), nn.Linear, "first.weight"),
        (lambda m, x: m.second(x * m.first.weight.diagonal() + m.first(x)), nn.Linear, "first.w"),
        (lambda m, x: m.second(m.first(x)), Doubled, "first.weight"),
        (lambda m, x: m.second(nn.Linear.forward(m.first, x)), nn.Linear, "first.weight"),
    ],
)
def test_weights_used_outside_the_calls_of_their_layers_are_refused(
    use: Callable[[Using, Tensor], Tensor], layer: type[nn.Linear], name: str, frozen: bool
) -> None:
    model = Using(use, layer)
    model.first.requires_grad_(not frozen)
    context = of_model(model)
    trainable = [parameter.requires_grad for parameter in context.model.parameters()]
    with pytest.raises(MeasureError, match=f"undefined for this network: parameter '{name}"):
        layer_factors(context)
    assert [p.requires_grad for p in context.model.parameters()] == trainable


@pytest.mark.parametrize("kind", ["gain", "functional", "attention"])
def test_parameters_of_unknown_layers_are_refused(kind: str) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 5)
            self.odd = {
                "gain": lambda: nn.ParameterList([torch.ones(5)]),
                "functional": lambda: nn.Linear(5, 5),
                "attention": lambda: nn.MultiheadAttention(5, 1),
            }[kind]()

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            if kind == "gain":
                return x * self.odd[0]
            if kind == "functional":
                return x @ self.odd.weight
            return self.odd(x[:, None], x[:, None], x[:, None])[0][:, 0]

    with pytest.raises(MeasureError, match=r"products of norms are undefined.*parameter 'odd"):
        layer_factors(of_model(Odd()))


def test_computing_factors_leaves_no_hooks() -> None:
    context = case("cnn").context()
    layer_factors(context)
    assert not any(module._forward_hooks for module in context.model.modules())


def test_tied_layers_count_once_for_each_call() -> None:
    model = case("tied").model()
    weight, head = norm(model.first.weight, 2), norm(model.head.weight, 2)
    assert spectral_product(of_model(model)) == pytest.approx(weight**2 * head)


class Autoencoder(nn.Module):
    """Uses the weight of a layer outside of the layer's call."""

    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.encoder, self.head, self.transposed = nn.Linear(5, 5), nn.Linear(5, 3), transposed

    def forward(self, x: Tensor) -> Tensor:
        weight = self.encoder.weight.t() if self.transposed else self.encoder.weight
        return self.head(torch.relu(nn.functional.linear(torch.relu(self.encoder(x)), weight)))


@pytest.mark.parametrize("transposed", [False, True])
def test_a_weight_also_used_outside_its_layer_has_no_product(transposed: bool) -> None:
    with pytest.raises(MeasureError, match=r"undefined.*'encoder\.weight' .* is used outside"):
        layer_factors(of_model(Autoencoder(transposed)))


def test_parametrized_layers_may_use_their_parameters_freely() -> None:
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 5), n_power_iterations=30)
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(5, 3)).eval()
    factors = layer_factors(of_model(model))
    assert factors[0].spectral == pytest.approx(norm(layer.weight, 2))


def scaled_output(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return 2 * output


def scaled_input(module: nn.Module, inputs: Any) -> Any:
    return tuple(2 * x for x in inputs)


class DoublesItsCalls(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = 2 * super().__call__(x)
        return found


@pytest.mark.parametrize("of", ["", "0", "2"], ids=["network", "layer", "head"])
@pytest.mark.parametrize("kind", ["output", "input", "input_of_all"])
def test_hooks_that_rescale_leave_products_undefined(of: str, kind: str) -> None:
    model = mlp(5, 6, 3)
    module = model.get_submodule(of)
    handle = {
        "output": lambda: module.register_forward_hook(scaled_output),
        "input": lambda: module.register_forward_pre_hook(scaled_input),
        "input_of_all": lambda: register_module_forward_pre_hook(scaled_input),
    }[kind]()
    try:
        context = of_model(model)
        with pytest.raises(MeasureError, match="hooks on its modules change its function"):
            layer_factors(context)
        # Every measure that reads the weights for the function says so.
        names = ("norms", "stable_rank", "convolution_norms", "spectral_complexity", "jiang_norms")
        rows = list(measure_snapshot(context, requests(*names, "path_norm"), findings={}))
        finite = {row["measure"] for row in rows if row["status"] == "ok"}
        assert finite == {"parameter_count", "weight_norm"}
        assert {row["status"] for row in rows} == {"ok", "nonfinite"}
    finally:
        handle.remove()


def test_a_layer_that_doubles_its_calls_is_refused() -> None:
    model = nn.Sequential(DoublesItsCalls(5, 6), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(MeasureError, match="is used outside linear, convolution"):
        layer_factors(of_model(model))


def test_hooks_that_observe_or_compute_the_weight_change_nothing() -> None:
    model, seen = mlp(5, 6, 3), []
    expected = [factor.spectral for factor in layer_factors(of_model(model))]
    for module in model.modules():
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    context = of_model(model)
    assert [factor.spectral for factor in layer_factors(context)] == expected
    assert seen
    assert all(len(module._forward_hooks) == 1 for module in context.model.modules())
