from __future__ import annotations

import pytest
import torch
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models import parameter_count
from orchestrator.models.vgg import build_vgg
from orchestrator.study.model_options import VggOptions

STAGES = {
    11: [[64], [128], [256] * 2, [512] * 2, [512] * 2],
    13: [[64] * 2, [128] * 2, [256] * 2, [512] * 2, [512] * 2],
    16: [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3],
    19: [[64] * 2, [128] * 2, [256] * 4, [512] * 4, [512] * 4],
}


@pytest.mark.parametrize("depth", STAGES)
def test_convolutions_are_those_of_the_paper(depth: int) -> None:
    with torch.device("meta"):
        model = build_vgg(VggOptions(depth=depth), (3, 32, 32), 10)
    total, inputs = 0, 3
    for number, widths in enumerate(STAGES[depth], start=1):
        stage = model.get_submodule(f"stage_{number}")
        convolutions = [module for module in stage if isinstance(module, nn.Conv2d)]
        assert [convolution.out_channels for convolution in convolutions] == widths
        for width in widths:
            total += 9 * inputs * width + 2 * width
            inputs = width
    assert parameter_count(model) == total + 512 * 10 + 10
    # Of the original's three linear layers one is left.
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth - 2


@pytest.mark.parametrize(
    ("side", "pooled", "left"),
    [
        (2, [5], 1),
        (4, [1, 5], 1),
        (8, [1, 2, 5], 1),
        (28, [1, 2, 3, 5], 1),
        (32, [1, 2, 3, 4, 5], 1),
        (64, [1, 2, 3, 4, 5], 2),
    ],
)
def test_stages_pool_only_while_the_image_allows_it(
    side: int, pooled: list[int], left: int
) -> None:
    model = build_vgg(VggOptions(width=1), (1, side, side + 1), 10).eval()
    stages = [model.get_submodule(f"stage_{number}") for number in range(1, 6)]
    pooling = [
        number
        for number, stage in enumerate(stages, start=1)
        if any(isinstance(module, nn.MaxPool2d) for module in stage)
    ]
    assert pooling == pooled
    x = torch.randn(2, 1, side, side + 1)
    for stage in stages:
        convolutions = [module for module in stage if isinstance(module, nn.Conv2d)]
        assert len(convolutions) in (1, 2)
        assert min(x.shape[2:]) >= 2
        x = stage(x)
    assert x.shape[2:] == (left, left)
    assert model(torch.randn(2, 1, side, side + 1)).shape == (2, 10)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ModelError, match=r"got images of 1 × 8, expected at least 2 × 2\n.*'mlp'"):
        build_vgg(VggOptions(), (3, 1, 8), 10)


def test_dropout_comes_before_the_linear_layer() -> None:
    model = build_vgg(VggOptions(width=1, dropout=0.3), (1, 8, 8), 10)
    assert list(dict(model.named_children()))[-4:] == ["pool", "flatten", "dropout", "classifier"]
