"""He initialization, drawn from one generator and nothing else."""

from __future__ import annotations

import math

import torch
from torch import nn

from orchestrator.models.layers import LEAKY_SLOPE
from orchestrator.study.model_options import Activation

_GAINS: dict[Activation, float] = {
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + LEAKY_SLOPE**2)),
    "tanh": 5 / 3,
    "gelu": math.sqrt(2),
    "silu": math.sqrt(2),
}


def initialize(model: nn.Module, activation: Activation, generator: torch.Generator) -> None:
    """Draw the weights of linear and convolutional layers anew, in place.

    Weights are normal with mean zero and standard deviation gain / √fan-in (He et al.,
    arXiv:1502.01852, equations 10 and 15), the gain being √2 for ReLU, GELU and SiLU, √(2/(1+a²))
    for leaky ReLU of slope a, and 5/3 for tanh. The last linear layer, which no activation
    follows, has gain 1. Biases are zero; normalizations start as the identity after
    standardizing (scale one, shift zero).

    Args:
        model: A network whose last linear layer gives the logits.
        activation: What follows the other layers.
        generator: Where the numbers come from, in the order of ``model.modules()``.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        gain = 1.0 if layer is layers[-1] else _GAINS[activation]
        fan_in = layer.weight[0].numel()
        with torch.no_grad():
            layer.weight.normal_(0.0, gain / math.sqrt(fan_in), generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
