from __future__ import annotations

from math import inf, nan

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures import MeasureContext, degree_of_homogeneity
from orchestrator.measures.norms.homogeneity import homogeneous_norm
from tests.measures.cases import CROSS_ENTROPY, case, mlp, random_dataset


def context_of(model: nn.Module, dtype: torch.dtype = torch.float64) -> MeasureContext:
    return MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", [(5, 3), (5, 6, 3), (5, 6, 4, 3)])
def test_the_degree_is_the_number_of_layers(widths: tuple[int, ...], dtype: torch.dtype) -> None:
    model = mlp(*widths, bias=False)
    context = context_of(model, dtype)
    degree = len(widths) - 1
    assert degree_of_homogeneity(context) == degree
    norm = sum(p.double().square().sum().item() for p in model.parameters()) ** 0.5
    assert homogeneous_norm(context) == pytest.approx(norm**degree, rel=1e-6)


def test_convolutions_count_unless_they_are_frozen() -> None:
    model = nn.Sequential(
        nn.Unflatten(1, (1, 5)),
        *(nn.Conv1d(1, 2, 3, bias=False), nn.LeakyReLU(), nn.MaxPool1d(2), nn.Flatten()),
        nn.Linear(2, 3, bias=False),
    )
    assert degree_of_homogeneity(context_of(model)) == 2
    model[1].requires_grad_(False)
    assert degree_of_homogeneity(context_of(model)) == 1


@pytest.mark.parametrize("name", ["mlp", "tanh", "residual_batch_norm"])
def test_networks_that_are_not_homogeneous_are_refused(name: str) -> None:
    with pytest.raises(MeasureError, match="not homogeneous"):
        homogeneous_norm(case(name).context())


def test_biases_of_zero_keep_a_network_homogeneous() -> None:
    model = mlp(5, 6, 3)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    assert degree_of_homogeneity(context_of(model)) == 2


@pytest.mark.parametrize("weight", [0.0, inf, nan])
def test_zero_and_nonfinite_logits_are_refused(weight: float) -> None:
    model = mlp(5, 3, bias=False)
    for parameter in model.parameters():
        nn.init.constant_(parameter, weight)
    with pytest.raises(MeasureError, match="all 0 or not finite"):
        degree_of_homogeneity(context_of(model))
