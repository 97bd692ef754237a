from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models import parameter_count
from orchestrator.models.resnet import ResidualBlock, build_resnet
from orchestrator.study.model_options import ResnetOptions


def by_hand(depth: int, width: int, channels: int, classes: int) -> int:
    """Option A with batch normalization: convolutions of 9 weights, two numbers a channel."""
    blocks = (depth - 2) // 6
    total = 9 * channels * width + 2 * width
    inputs = width
    for outputs in (width, 2 * width, 4 * width):
        for _ in range(blocks):
            total += 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
            inputs = outputs
    return total + inputs * classes + classes


def test_resnet_20_has_the_papers_number_of_parameters() -> None:
    count = parameter_count(build_resnet(ResnetOptions(), (3, 32, 32), 10))
    assert count == by_hand(20, 16, 3, 10) == 269_722


# Table 6 of the paper: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
@pytest.mark.parametrize(("depth", "millions"), [(32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_deeper_resnets_have_the_papers_numbers_of_parameters(depth: int, millions: float) -> None:
    with torch.device("meta"):
        model = build_resnet(ResnetOptions(depth=depth), (3, 32, 32), 10)
    assert parameter_count(model) == by_hand(depth, 16, 3, 10)
    assert parameter_count(model) / 1e6 == pytest.approx(
        millions, abs=0.05 if depth > 99 else 0.006
    )


@pytest.mark.parametrize(("depth", "width", "shape"), [(8, 3, (1, 28, 28)), (14, 5, (2, 5, 9))])
def test_other_depths_widths_and_images_have_the_counts_worked_out_by_hand(
    depth: int, width: int, shape: tuple[int, int, int]
) -> None:
    model = build_resnet(ResnetOptions(depth=depth, width=width), shape, 7)
    assert parameter_count(model) == by_hand(depth, width, shape[0], 7)
    assert model(torch.zeros(2, *shape)).shape == (2, 7)


def test_a_resnet_has_as_many_weighted_layers_as_its_depth() -> None:
    model = build_resnet(ResnetOptions(depth=14, width=2), (1, 8, 8), 10)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 14


@pytest.mark.parametrize("size", [8, 7])
def test_the_shortcut_takes_every_second_pixel_and_pads_with_zeros(size: int) -> None:
    block = ResidualBlock(3, 8, 2, ResnetOptions(width=3))
    x = torch.randn(2, 3, size, size)
    shortcut = block.shortcut(x)
    expected = torch.zeros(2, 8, (size + 1) // 2, (size + 1) // 2)
    expected[:, 2:5] = x[:, :, ::2, ::2]
    assert torch.equal(shortcut, expected)
    assert not list(block.shortcut.parameters())
    assert torch.equal(block(x), torch.relu(block.residual(x) + expected))


def test_a_block_that_keeps_its_shape_adds_its_input() -> None:
    block = ResidualBlock(4, 4, 1, ResnetOptions(width=4, activation="tanh", dropout=0.5)).eval()
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(x), torch.tanh(block.residual(x) + x))
    kinds = [type(module) for module in block.residual]
    convolution = [nn.Conv2d, nn.BatchNorm2d]
    assert kinds == [*convolution, nn.Tanh, nn.Dropout, *convolution]


@pytest.mark.parametrize(("depth", "lower", "upper"), [(18, 14, 20), (9, 8, 14), (55, 50, 56)])
def test_depths_between_whole_blocks_are_refused(depth: int, lower: int, upper: int) -> None:
    for valid in (lower, upper):
        assert ResnetOptions(depth=valid).depth == valid
    with pytest.raises(ValidationError, match=f"6n \\+ 2; the nearest are {lower} and {upper}"):
        ResnetOptions(depth=depth)


def test_images_too_small_for_the_last_stage_are_refused() -> None:
    with pytest.raises(ModelError, match=r"got images of 4 × 32, expected at least 5 × 5\n.*'cnn'"):
        build_resnet(ResnetOptions(depth=8), (1, 4, 32), 10)
