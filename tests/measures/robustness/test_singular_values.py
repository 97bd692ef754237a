from __future__ import annotations

from math import isnan

import pytest
import torch
from torch import nn

from orchestrator.measures.base import Curve, Value
from orchestrator.measures.robustness.singular_values import SingularValues, effective_rank
from orchestrator.study.measure_options.robustness import SingularValuesOptions
from tests.measures.cases import case
from tests.measures.robustness.cases import context_of


def found_in(model: nn.Module) -> tuple[list[Value], list[Curve]]:
    context = context_of(model, torch.ones(3, 4), torch.tensor([0, 1, 2]))
    rows = list(SingularValues(SingularValuesOptions(name="singular_values")).compute(context))
    return [r for r in rows if isinstance(r, Value)], [r for r in rows if isinstance(r, Curve)]


def test_a_diagonal_matrix_has_its_entries_as_singular_values() -> None:
    model = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[0, 0], model.weight[1, 2] = 2.0, -2.0
    (value,), (curve,) = found_in(model)
    assert list(curve.x) == [1, 2, 3]
    assert list(curve.values) == pytest.approx([2, 2, 0])
    assert value.value == pytest.approx(2)
    assert (value.variant, value.split) == ("layer_1", None)


def test_scaling_a_layer_keeps_its_effective_rank() -> None:
    values = torch.rand(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert effective_rank(7 * values) == pytest.approx(effective_rank(values))
    assert effective_rank(torch.ones(5)) == pytest.approx(5)
    assert isnan(effective_rank(torch.zeros(5)))


def test_kernels_count_as_matrices_on_patches() -> None:
    rows = list(
        SingularValues(SingularValuesOptions(name="singular_values")).compute(case("cnn").context())
    )
    curves = {row.variant: row for row in rows if isinstance(row, Curve)}
    weights = [p.detach() for p in case("cnn").model().parameters() if p.ndim > 1]
    for number, weight in enumerate(weights, start=1):
        expected = torch.linalg.svdvals(weight.double().flatten(1))
        assert list(curves[f"layer_{number}"].values) == pytest.approx(expected.tolist())


def test_zero_nan_and_missing_layers_give_a_reason() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.zero_()
        model[1].weight.fill_(float("nan"))
    values, curves = found_in(model)
    assert [value.reason for value in values] == [
        "the layer's weights are all zero",
        "the layer's weights are not finite",
    ]
    assert len(curves) == 1

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :3] * self.scale

    (value,), curves = found_in(Scale())
    assert isnan(value.value)
    assert not curves
