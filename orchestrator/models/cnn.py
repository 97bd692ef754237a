"""A plain convolutional network."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from orchestrator.models.images import require_images
from orchestrator.models.layers import activation_layer, convolution_layers
from orchestrator.registry import builds
from orchestrator.study.model_options import CnnOptions


@builds(CnnOptions)
def build_cnn(options: CnnOptions, input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Build ``depth`` × (convolution, normalization, activation, max-pooling), then linear.

    Convolutions are 3 × 3. The first has ``width`` channels, and each further one has twice as many
    as the one before. Each pooling halves height and width, rounding down. Dropout precedes the
    linear layer.

    Args:
        options: Width, depth and parts.
        input_shape: ``(channels, height, width)``.
        classes: Number of logits.

    Raises:
        ModelError: If examples are not images of at least ``2**depth`` pixels per side.
    """
    channels, height, width = require_images(
        "cnn",
        input_shape,
        smallest=2**options.depth,
        hint=f"each of the {options.depth} blocks halves the image: use a smaller depth",
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, options.depth + 1):
        outputs = options.width * 2 ** (number - 1)
        layers[f"block_{number}"] = nn.Sequential(
            *convolution_layers(channels, outputs, options.normalization),
            activation_layer(options.activation),
            nn.MaxPool2d(2),
        )
        channels, height, width = outputs, height // 2, width // 2
    layers["flatten"] = nn.Flatten()
    if options.dropout:
        layers["dropout"] = nn.Dropout(options.dropout)
    layers["classifier"] = nn.Linear(channels * height * width, classes)
    return nn.Sequential(layers)
