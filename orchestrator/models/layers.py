"""The building blocks of all built-in networks.

Activations and normalizations are always new module instances, each used in one place, so that
``torch.fx`` and forward hooks see every operation separately.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from orchestrator.study.model_options import Activation, Normalization

LEAKY_SLOPE = 0.01
FEWEST_PER_GROUP = 4

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def activation_layer(name: Activation) -> nn.Module:
    """Return a new activation."""
    return _ACTIVATIONS[name]()


def normalization_layers(
    name: Normalization, channels: int, *, flat: bool = False
) -> list[nn.Module]:
    """Return a new normalization over ``channels``, or nothing.

    Args:
        name: ``none``, ``batch`` or ``group`` (Wu and He, arXiv:1803.08494).
        channels: Number of input channels (or units).
        flat: Whether examples are vectors rather than images.

    Returns:
        One layer, or an empty list for ``"none"``.
    """
    if name == "none":
        return []
    if name == "group":
        return [nn.GroupNorm(group_count(channels), channels)]
    return [nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)]


def group_count(channels: int) -> int:
    """Return the number of groups: the largest of 8, 4 and 2 that fits, else 1.

    It must divide the channels and leave at least four channels per group. With fewer than four
    numbers per group, little but their signs would survive if an example has one number per
    channel.

    >>> [group_count(channels) for channels in (64, 16, 12, 10, 6)]
    [8, 4, 2, 2, 1]
    """
    for groups in (8, 4, 2):
        if channels % groups == 0 and channels // groups >= FEWEST_PER_GROUP:
            return groups
    return 1


def convolution_layers(
    inputs: int, outputs: int, normalization: Normalization, *, stride: int = 1
) -> list[nn.Module]:
    """Return a 3 × 3 convolution that keeps the size (divided by ``stride``), then normalization.

    The convolution has a bias only without normalization, which would subtract the bias again.
    """
    convolution = nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=1, bias=normalization == "none"
    )
    return [convolution, *normalization_layers(normalization, outputs)]
