from __future__ import annotations

import pytest
import torch
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models import parameter_count
from orchestrator.models.mlp import build_mlp
from orchestrator.study.model_options import MlpOptions


@pytest.mark.parametrize(
    ("changes", "shape", "count"),
    [
        # The quickstart's network: 40·128 + 128, 128·128 + 128, 128·10 + 10.
        ({}, (40,), 5_248 + 16_512 + 1_290),
        ({"bias": False}, (40,), 5_120 + 16_384 + 1_280),
        ({"depth": 0}, (40,), 410),
        ({"depth": 0, "bias": False}, (40,), 400),
        ({"depth": 1, "width": 5}, (1, 8, 8), 64 * 5 + 5 + 60),
        # A scale and a shift for each unit in place of its bias.
        ({"normalization": "batch"}, (40,), 5_120 + 256 + 16_384 + 256 + 1_290),
        ({"normalization": "group", "bias": False}, (40,), 5_120 + 256 + 16_384 + 256 + 1_280),
    ],
)
def test_parameter_counts_equal_those_worked_out_by_hand(
    changes: dict[str, object], shape: tuple[int, ...], count: int
) -> None:
    assert parameter_count(build_mlp(MlpOptions(**changes), shape, 10)) == count


def test_layers_are_in_the_documented_order() -> None:
    model = build_mlp(
        MlpOptions(depth=2, activation="gelu", normalization="batch", dropout=0.5), (3, 2, 2), 4
    )
    kinds = [type(module) for module in model.modules() if not isinstance(module, nn.Sequential)]
    block = [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Dropout]
    assert kinds == [nn.Flatten, *block, *block, nn.Linear]
    assert list(model.state_dict())[:2] == ["block_1.0.weight", "block_1.1.weight"]
    assert model(torch.zeros(5, 3, 2, 2)).shape == (5, 4)


def test_groups_of_too_few_units_are_refused() -> None:
    with pytest.raises(ModelError, match=r"group normalization of 3 units, expected .* at least 4"):
        build_mlp(MlpOptions(width=3, normalization="group"), (40,), 10)
    build_mlp(MlpOptions(width=3, depth=0, normalization="group"), (40,), 10)
