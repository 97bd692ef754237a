"""Rules for images: activations ``(n, channels, height, width)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.measures.grammar.any_shape import activation
from tests.measures.grammar.sentence import Sentence, often


def _convolution(s: Sentence, shape: tuple[int, ...]) -> Any:
    if min(shape[1:]) < 2:
        return activation(s, shape)
    out = s.draw.choice([1, 2])
    mode = s.draw.choice(["zeros", "zeros", "circular", "reflect"])
    padding = s.draw.choice([0, 0, 1])
    conv = nn.Conv2d(
        shape[0], out, 2, stride=s.draw.choice([1, 2]), padding=padding, padding_mode=mode
    )
    with torch.no_grad():
        after = tuple(conv(torch.zeros(1, *shape)).shape[1:])
    if s.draw.random() < 0.15:
        conv = parametrizations.weight_norm(conv)
        mode += ", weight_norm"
    layer = s.add(conv)
    return f"Conv2d ({mode})", lambda m, h: m.get_submodule(layer)(h), after


def _image_layer(s: Sentence, shape: tuple[int, ...]) -> Any:
    c = shape[0]
    kinds: dict[str, Callable[[], nn.Module]] = {
        "BatchNorm2d": lambda: nn.BatchNorm2d(c),
        "GroupNorm": lambda: nn.GroupNorm(1, c),
        "InstanceNorm2d": lambda: nn.InstanceNorm2d(c, affine=True),
        "PReLU of channels": lambda: nn.PReLU(c),
        "Dropout2d": lambda: nn.Dropout2d(),
        "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d(2),
        "MaxPool2d": lambda: nn.MaxPool2d(2, 1),
        "AvgPool2d": lambda: nn.AvgPool2d(2, 1),
        "Upsample": lambda: nn.Upsample(size=(3, 3), mode="bilinear"),
        "1 × 1": lambda: nn.Conv2d(c, 2, 1),
    }
    small = min(shape[1:]) < 2
    word = s.draw.choice([w for w in kinds if not small or ("Pool" not in w and "Inst" not in w)])
    built = kinds[word]().eval()
    with torch.no_grad():
        after = tuple(built(torch.zeros(2, *shape)).shape[1:])
    layer = s.add(built.train())
    return word, lambda m, h: m.get_submodule(layer)(h), after


def _flatten(s: Sentence, shape: tuple[int, ...]) -> Any:
    kept = shape[0]
    return "sum over pixels", lambda m, h: h.sum((-2, -1)), (kept,)


IMAGE = often((_convolution, 5), (_image_layer, 4), (activation, 2), (_flatten, 1))
