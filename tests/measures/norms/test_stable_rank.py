from __future__ import annotations

from math import isnan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.layer_factors import layer_factors
from orchestrator.measures.norms.operator_norm import convolution_norm
from orchestrator.measures.norms.stable_rank import StableRank
from orchestrator.study.measure_options.norms import StableRankOptions
from tests.measures.cases import CROSS_ENTROPY, Case, case, mlp, random_dataset

MEASURE = StableRank(StableRankOptions(name="stable_rank"))


def found(context: MeasureContext) -> dict[str, Value]:
    return {value.variant: value for value in MEASURE.compute(context)}


def ranks(model: nn.Module, shape: tuple[int, ...] = (5,), classes: int = 3) -> dict[str, float]:
    context = MeasureContext(model, random_dataset(shape, 4, classes), CROSS_ENTROPY)
    return {variant: value.value for variant, value in found(context).items()}


def test_stable_ranks_agree_with_singular_values() -> None:
    model = case("mlp").model()
    expected = {}
    for number, index in enumerate((0, 2, 4), start=1):
        singular = torch.linalg.svdvals(model.get_parameter(f"{index}.weight").detach().double())
        expected[f"layer_{number}"] = ((singular / singular[0]).square().sum()).item()
    assert ranks(model) == pytest.approx({"": sum(expected.values()), **expected}, rel=1e-12)


def test_matrices_of_known_rank_have_that_stable_rank() -> None:
    model = mlp(4, 4, 3, bias=False)
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4))
        model[2].weight.copy_(torch.outer(torch.arange(1.0, 4), torch.arange(1.0, 5)))
    values = ranks(model, (4,))
    assert values == pytest.approx({"": 5.0, "layer_1": 4.0, "layer_2": 1.0})


def test_convolutions_compare_their_kernel_with_their_operator() -> None:
    model = case("cnn").model()
    values = ranks(model, (1, 6, 6))
    assert list(values) == ["", "layer_1", "layer_2", "layer_3"]
    kernel = model.get_submodule("0")
    assert isinstance(kernel, nn.Conv2d)
    square = kernel.weight.detach().double().square().sum().item()
    expected = square / convolution_norm(kernel, (1, 6, 6)) ** 2
    assert values["layer_1"] == pytest.approx(expected, rel=1e-6)


def test_normalizations_are_not_counted_as_layers() -> None:
    context = case("residual_batch_norm").context()
    assert len(layer_factors(context)) == 7
    assert list(found(context)) == ["", "layer_1", "layer_2", "layer_3", "layer_4"]


def test_stable_ranks_reuse_the_norms_of_layers() -> None:
    context = case("cnn").context()
    factors = layer_factors(context)
    values = found(context)
    assert layer_factors(context) is factors
    expected = [(factor.frobenius / factor.spectral) ** 2 for factor in factors]
    assert [values[f"layer_{n}"].value for n in (1, 2, 3)] == expected


@settings(max_examples=15, deadline=None)
@given(factors=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3), seed=st.integers(0, 3))
def test_scaling_layers_does_not_change_their_rank(factors: list[float], seed: int) -> None:
    model = Case("mlp", lambda: mlp(5, 6, 4, 3)).model(seed).double()
    before = ranks(model)
    with torch.no_grad():
        for index, factor in zip((0, 2, 4), factors, strict=True):
            model.get_parameter(f"{index}.weight").mul_(factor)
    assert ranks(model) == pytest.approx(before, rel=1e-10)
    for variant, rank in before.items():
        assert variant == "" or 1 <= rank <= 6


def test_a_layer_of_zeros_has_no_rank() -> None:
    model = mlp(5, 4, 3)
    with torch.no_grad():
        model[2].weight.zero_()
    values = found(MeasureContext(model, random_dataset((5,), 4, 3), CROSS_ENTROPY))
    assert values["layer_1"].reason is None
    for variant in ("", "layer_2"):
        assert isnan(values[variant].value)
        assert "all zero" in str(values[variant].reason)


def test_undefined_layers_give_a_value_with_a_reason() -> None:
    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(5))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gain

    context = MeasureContext(Gain(), random_dataset((5,), 4, 5), CROSS_ENTROPY)
    (value,) = MEASURE.compute(context)
    assert isnan(value.value)
    assert "parameter 'gain' of Gain" in str(value.reason)
