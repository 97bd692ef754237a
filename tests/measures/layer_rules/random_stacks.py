"""Random networks of known layers: stacks on vectors or images, with residual sums."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from tests.measures.cases import Case, randomize_batch_norm


def random_stack(seed: int) -> Case:
    """Up to six random layers, on images or on vectors, each perhaps around a residual sum."""
    draw = random.Random(seed)
    depth, on_images = draw.randint(1, 6), draw.random() < 0.5

    def build() -> nn.Module:
        draw.seed(seed)
        layers: list[nn.Module] = []
        channels, size = 2, (6, 5)
        for _ in range(depth):
            layer, channels, size = (
                _image_layer(draw, channels, size)
                if on_images
                else (*_vector_layer(draw, channels), size)
            )
            layers.append(layer)
        features = channels * size[0] * size[1] if on_images else channels
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3))
        if draw.random() < 0.3:
            for parameter in layers[0].parameters():
                parameter.requires_grad_(False)
        return randomize_batch_norm(network)

    shape = (2, 6, 5) if on_images else (2,)
    return Case(f"stack {seed}", build, shape, examples=draw.randint(1, 9))


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


_SMOOTH = (nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.ELU, nn.Softplus, nn.Mish)
_PIECEWISE = (nn.ReLU, nn.LeakyReLU, nn.Hardtanh)


def _activation(draw: random.Random) -> nn.Module:
    return draw.choice((*_SMOOTH, *_PIECEWISE))()


def _vector_layer(draw: random.Random, width: int) -> tuple[nn.Module, int]:
    kind = draw.choice(("linear", "linear", "residual", "norm", "activation"))
    wider = draw.randint(2, 6)
    if kind == "linear":
        return nn.Linear(width, wider, bias=draw.random() < 0.7), wider
    if kind == "residual":
        inner = nn.Sequential(nn.Linear(width, wider), _activation(draw), nn.Linear(wider, width))
        return Residual(inner), width
    if kind == "norm":
        return draw.choice((nn.BatchNorm1d, nn.LayerNorm))(width), width
    return _activation(draw), width


def _image_layer(
    draw: random.Random, channels: int, size: tuple[int, int]
) -> tuple[nn.Module, int, tuple[int, int]]:
    kind = draw.choice(("conv", "conv", "residual", "norm", "activation", "pool"))
    more = 2 * draw.randint(1, 2)
    if kind == "conv":
        groups, kernel = draw.choice((1, 2)), draw.randint(1, 3)
        layer = nn.Conv2d(
            channels,
            more,
            kernel,
            stride=draw.randint(1, 2),
            padding=kernel // 2,
            groups=groups,
            bias=draw.random() < 0.5,
        )
        with torch.no_grad():
            after = layer(torch.zeros(1, channels, *size)).shape[2:]
        return layer, more, (after[0], after[1])
    if kind == "residual":
        inner = nn.Sequential(
            nn.Conv2d(channels, more, 3, padding=1),
            _activation(draw),
            nn.Conv2d(more, channels, 3, padding=1),
        )
        return Residual(inner), channels, size
    if kind == "norm":
        return nn.BatchNorm2d(channels), channels, size
    if kind == "pool" and min(size) > 2:
        pool = draw.choice((nn.MaxPool2d, nn.AvgPool2d))(2)
        return pool, channels, (size[0] // 2, size[1] // 2)
    return _activation(draw), channels, size
