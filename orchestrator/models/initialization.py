"""He initialization, drawn from a single generator."""

from __future__ import annotations

import math

import torch
from torch import nn

from orchestrator.models.layers import LEAKY_SLOPE
from orchestrator.study.model_options import Activation

_GAINS: dict[Activation | None, float] = {
    None: 1.0,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + LEAKY_SLOPE**2)),
    "tanh": 5 / 3,
    "gelu": math.sqrt(2),
    "silu": math.sqrt(2),
}


def initialize(model: nn.Module, activation: Activation | None, generator: torch.Generator) -> None:
    """Reinitialize the weights of linear and convolutional layers in place.

    Weights are normal with mean zero and standard deviation gain / √fan-in (He et al.,
    arXiv:1502.01852, equations 10 and 15). The gain is √2 for ReLU, GELU and SiLU, √(2/(1+a²)) for
    leaky ReLU with slope a, and 5/3 for tanh. The last linear layer has gain 1, since no activation
    follows. Biases are zero. Normalizations start with scale one and shift zero, the identity after
    standardizing.

    Args:
        model: A network whose last linear layer returns the logits.
        activation: Activation after the other layers; None has gain 1.
        generator: Source of the random numbers, used in the order of ``model.modules()``.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        gain = 1.0 if layer is layers[-1] else _GAINS[activation]
        fan_in = layer.weight[0].numel()
        with torch.no_grad():
            layer.weight.normal_(0.0, gain / math.sqrt(fan_in), generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
