from __future__ import annotations

import pytest
import torch
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models import parameter_count
from orchestrator.models.cnn import build_cnn
from orchestrator.study.model_options import CnnOptions


@pytest.mark.parametrize(
    ("changes", "shape", "count"),
    [
        # 9·1·32 + 32, 9·32·64 + 64, then 64 channels of 7 × 7 into ten classes.
        ({}, (1, 28, 28), 320 + 18_496 + 31_370),
        ({"normalization": "batch"}, (1, 28, 28), 288 + 64 + 18_432 + 128 + 31_370),
        # 28 → 14 → 7 → 3: the rest of a division is left out.
        ({"depth": 3, "width": 4}, (3, 28, 28), 112 + 296 + 1_168 + 16 * 9 * 10 + 10),
        ({"depth": 3, "width": 4}, (3, 8, 12), 112 + 296 + 1_168 + 16 * 10 + 10),
    ],
)
def test_parameter_counts_equal_those_worked_out_by_hand(
    changes: dict[str, object], shape: tuple[int, ...], count: int
) -> None:
    model = build_cnn(CnnOptions(**changes), shape, 10)
    assert parameter_count(model) == count
    assert model(torch.zeros(2, *shape)).shape == (2, 10)


def test_layers_are_in_the_documented_order() -> None:
    model = build_cnn(CnnOptions(normalization="group", dropout=0.5), (3, 8, 8), 10)
    kinds = [type(module) for module in model.modules() if not isinstance(module, nn.Sequential)]
    block = [nn.Conv2d, nn.GroupNorm, nn.ReLU, nn.MaxPool2d]
    assert kinds == [*block, *block, nn.Flatten, nn.Dropout, nn.Linear]


def test_too_many_blocks_for_the_image_size_are_refused() -> None:
    build_cnn(CnnOptions(depth=3, width=1), (1, 8, 9), 10)
    message = r"got images of 8 × 9, expected at least 16 × 16\n.*each of the 4 blocks halves"
    with pytest.raises(ModelError, match=message):
        build_cnn(CnnOptions(depth=4, width=1), (1, 8, 9), 10)
