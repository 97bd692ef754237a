"""A multilayer perceptron."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models.layers import FEWEST_PER_GROUP, activation_layer, normalization_layers
from orchestrator.registry import builds
from orchestrator.study.model_options import MlpOptions


@builds(MlpOptions)
def build_mlp(options: MlpOptions, input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Build flatten, ``depth`` × (linear, normalization, activation, dropout), linear.

    A hidden layer has a bias only without normalization, whose shift replaces it.

    Args:
        options: Width, depth and parts; depth 0 is a linear classifier.
        input_shape: Any shape of one example.
        classes: Number of logits.

    Raises:
        ModelError: If group normalization is requested for fewer than four units.
    """
    if options.normalization == "group" and options.depth and options.width < FEWEST_PER_GROUP:
        raise ModelError(
            f"model 'mlp': got group normalization of {options.width} units, "
            f"expected a width of at least {FEWEST_PER_GROUP}",
            "use normalization: none or batch",
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    inputs = math.prod(input_shape)
    for number in range(1, options.depth + 1):
        bias = options.bias and options.normalization == "none"
        block = [
            nn.Linear(inputs, options.width, bias=bias),
            *normalization_layers(options.normalization, options.width, flat=True),
            activation_layer(options.activation),
        ]
        if options.dropout:
            block.append(nn.Dropout(options.dropout))
        layers[f"block_{number}"] = nn.Sequential(*block)
        inputs = options.width
    layers["classifier"] = nn.Linear(inputs, classes, bias=options.bias)
    return nn.Sequential(layers)
