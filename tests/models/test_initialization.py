from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from orchestrator.models.initialization import initialize


def make_model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(8, 64, 3),
        nn.BatchNorm2d(64),
        nn.Flatten(),
        nn.Linear(64, 400),
        nn.Linear(400, 50),
    )


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        ("relu", math.sqrt(2)),
        ("leaky_relu", math.sqrt(2 / 1.0001)),
        ("tanh", 5 / 3),
        ("gelu", math.sqrt(2)),
        ("silu", math.sqrt(2)),
    ],
)
def test_weights_have_the_standard_deviation_that_preserves_signals(
    activation: str, gain: float
) -> None:
    model = make_model()
    initialize(model, activation, torch.Generator().manual_seed(0))
    for index, fan_in, factor in ((0, 72, gain), (3, 64, gain), (4, 400, 1.0)):
        weight = model[index].weight
        deviation = factor / math.sqrt(fan_in)
        # 4,608 weights or more: the deviation's own relative error is 1 % at most.
        assert weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=0.05 * deviation)
        assert not model[index].bias.any()
    assert (model[1].weight == 1).all()
    assert not model[1].bias.any()


def test_signals_keep_their_size_through_thirty_layers() -> None:
    layers = [layer for _ in range(30) for layer in (nn.Linear(256, 256), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    initialize(model, "relu", torch.Generator().manual_seed(0))
    x = torch.randn(100, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        squares = model[:-1](x).square().mean().item()
    assert 0.2 < squares < 5


def test_initialization_depends_only_on_the_generator() -> None:
    first, second = make_model(), make_model()
    for model in (first, second):
        initialize(model, "relu", torch.Generator().manual_seed(7))
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
