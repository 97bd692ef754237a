"""The parts that every built-in network is made of.

Activations and normalizations are always new module instances, each used in one place, so that
``torch.fx`` and forward hooks see every operation by itself.
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
    """A new activation."""
    return _ACTIVATIONS[name]()


def normalization_layers(
    name: Normalization, channels: int, *, flat: bool = False
) -> list[nn.Module]:
    """A new normalization over ``channels``, or nothing.

    Args:
        name: ``none``, ``batch`` or ``group`` (Wu and He, arXiv:1803.08494).
        channels: How many channels (or units) come in.
        flat: Whether examples are vectors rather than images.

    Returns:
        One layer, or none for ``"none"``.
    """
    if name == "none":
        return []
    if name == "group":
        return [nn.GroupNorm(group_count(channels), channels)]
    return [nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)]


def group_count(channels: int) -> int:
    """The number of groups: 8, 4 or 2, the most that divide the channels and leave 4 to each.

    With fewer than four numbers to a group little but their signs would survive where an
    example has one number per channel. Otherwise all channels are one group.

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
    """A convolution of 3 × 3 that keeps the size (divided by ``stride``), then its normalization.

    It has a bias only without normalization, which would subtract it again.
    """
    convolution = nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=1, bias=normalization == "none"
    )
    return [convolution, *normalization_layers(normalization, outputs)]
