"""A residual network for small images."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from orchestrator.models.images import require_images
from orchestrator.models.layers import activation_layer, convolution_layers
from orchestrator.registry import builds
from orchestrator.study.model_options import ResnetOptions

_STAGES = 3
_SMALLEST_IMAGE = 5  # Leaves 2 × 2 pixels for the last stage.


class ResidualBlock(nn.Module):
    """Two convolutions added to a shortcut, then an activation.

    If the number of channels increases, the shortcut takes every second pixel and fills the new
    channels with zeros (option A of He et al., without parameters).

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Stride of the first convolution; 2 halves height and width, rounding up.
        options: Activation, normalization, and dropout between the convolutions.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, options: ResnetOptions) -> None:
        super().__init__()
        dropout = [nn.Dropout(options.dropout)] if options.dropout else []
        self.residual = nn.Sequential(
            *convolution_layers(inputs, outputs, options.normalization, stride=stride),
            activation_layer(options.activation),
            *dropout,
            *convolution_layers(outputs, outputs, options.normalization),
        )
        shortcut: list[nn.Module] = []
        if stride != 1:
            shortcut.append(nn.AvgPool2d(1, stride=stride))
        if inputs != outputs:
            front = (outputs - inputs) // 2
            shortcut.append(nn.ZeroPad3d((0, 0, 0, 0, front, outputs - inputs - front)))
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = activation_layer(options.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, inputs, h, w)`` to ``(n, outputs, ⌈h / stride⌉, ⌈w / stride⌉)``."""
        activated: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return activated


@builds(ResnetOptions)
def build_resnet(
    options: ResnetOptions, input_shape: tuple[int, ...], classes: int
) -> nn.Sequential:
    """Build the network of He et al. (arXiv:1512.03385, section 4.2) with 6n + 2 layers.

    A convolution is followed by three stages of n residual blocks with width, 2·width and 4·width
    channels, the average over all pixels, and a linear layer. The second and third stage halve the
    image size. With 20 layers, width 16 and ten classes, the network has 269,722 parameters.

    Args:
        options: Depth, width and parts.
        input_shape: ``(channels, height, width)``.
        classes: Number of logits.

    Raises:
        ModelError: If examples are not images of at least 5 × 5 pixels.
    """
    channels, _, _ = require_images(
        "resnet", input_shape, _SMALLEST_IMAGE, hint="models 'cnn' and 'mlp' take smaller images"
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(
        *convolution_layers(channels, options.width, options.normalization),
        activation_layer(options.activation),
    )
    inputs = options.width
    for stage in range(_STAGES):
        outputs = options.width * 2**stage
        blocks = []
        for number in range((options.depth - 2) // (2 * _STAGES)):
            stride = 2 if stage > 0 and number == 0 else 1
            blocks.append(ResidualBlock(inputs, outputs, stride, options))
            inputs = outputs
        layers[f"stage_{stage + 1}"] = nn.Sequential(*blocks)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)
