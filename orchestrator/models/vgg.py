"""A VGG network for small images."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from orchestrator.models.images import require_images
from orchestrator.models.layers import activation_layer, convolution_layers
from orchestrator.registry import builds
from orchestrator.study.model_options import VggOptions

_CONVOLUTIONS_PER_STAGE = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
_WIDTH_FACTORS = (1, 2, 4, 8, 8)
_SMALLEST_IMAGE = 2


@builds(VggOptions)
def build_vgg(options: VggOptions, input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Build five stages of convolutions (Simonyan and Zisserman, arXiv:1409.1556, table 1).

    Each stage ends with max-pooling, unless that would leave the next stage fewer than two
    pixels per side. Images of 8 × 8 are pooled after stages 1, 2 and 5, images of 28 × 28 after
    1, 2, 3 and 5, and images of 32 × 32 or larger after every stage. The remaining pixels (one for
    images up to 63 × 63) are averaged. After dropout, one linear layer replaces the original's
    three, which the depth still counts.

    Args:
        options: Depth, width (64 in the paper) and parts.
        input_shape: ``(channels, height, width)``.
        classes: Number of logits.

    Raises:
        ModelError: If examples are not images of at least 2 × 2 pixels.
    """
    channels, height, width = require_images(
        "vgg", input_shape, _SMALLEST_IMAGE, hint="model 'mlp' takes examples of any shape"
    )
    side = min(height, width)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    stages = zip(_CONVOLUTIONS_PER_STAGE[options.depth], _WIDTH_FACTORS, strict=True)
    for number, (convolutions, factor) in enumerate(stages, start=1):
        stage: list[nn.Module] = []
        for _ in range(convolutions):
            stage += convolution_layers(channels, options.width * factor, options.normalization)
            stage.append(activation_layer(options.activation))
            channels = options.width * factor
        left = 1 if number == len(_WIDTH_FACTORS) else 2
        if side // 2 >= left:
            stage.append(nn.MaxPool2d(2))
            side //= 2
        layers[f"stage_{number}"] = nn.Sequential(*stage)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    if options.dropout:
        layers["dropout"] = nn.Dropout(options.dropout)
    layers["classifier"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)
