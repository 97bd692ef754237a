from __future__ import annotations

import pytest
from torch import nn

from orchestrator.models.layers import (
    activation_layer,
    convolution_layers,
    group_count,
    normalization_layers,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("relu", nn.ReLU),
        ("leaky_relu", nn.LeakyReLU),
        ("tanh", nn.Tanh),
        ("gelu", nn.GELU),
        ("silu", nn.SiLU),
    ],
)
def test_each_activation_layer_is_a_new_module(name: str, kind: type[nn.Module]) -> None:
    first, second = activation_layer(name), activation_layer(name)
    assert type(first) is type(second) is kind
    assert first is not second


def test_normalization_layers_match_the_kind_and_input_shape() -> None:
    assert normalization_layers("none", 8) == []
    (image,) = normalization_layers("batch", 8)
    (flat,) = normalization_layers("batch", 8, flat=True)
    assert (type(image), type(flat)) == (nn.BatchNorm2d, nn.BatchNorm1d)
    (group,) = normalization_layers("group", 16, flat=True)
    assert (group.num_groups, group.num_channels) == (4, 16)


def test_group_counts_divide_the_channels_into_groups_of_at_least_four() -> None:
    counts = {channels: group_count(channels) for channels in range(1, 130)}
    for channels, groups in counts.items():
        assert channels % groups == 0
        assert groups == 1 or channels // groups >= 4
    assert [counts[channels] for channels in (1, 7, 8, 12, 16, 32, 48, 64, 128)] == [
        *(1, 1, 2, 2, 4, 8, 8, 8, 8)
    ]


@pytest.mark.parametrize(("normalization", "biased"), [("none", True), ("batch", False)])
def test_a_convolution_has_a_bias_only_without_normalization(
    normalization: str, biased: bool
) -> None:
    convolution, *rest = convolution_layers(3, 8, normalization, stride=2)
    assert (convolution.bias is not None) is biased
    assert len(rest) == (0 if biased else 1)
    assert (convolution.stride, convolution.padding) == ((2, 2), (1, 1))
