"""A sentence of the grammar while it is drawn: the network, and the words that describe it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

Fault = Literal["random", "mixes", "hides gradients"]
"""What only the trust checks can see: eval mode is random or has a memory, logits depend on the
other examples of a pass, or logits depend on parameters or inputs without a gradient."""

Step = Callable[["Network", Tensor], Tensor]


class Network(nn.Module):
    """Steps, one after the other.

    Attributes:
        low_precision: Whether casts to lower precisions are made; without them a reference has
            exact differences.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(self, x)
        return x


def _hook_twice(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: output * output.sigmoid())


def _hook_scale(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: 1.5 * output)


def _hook_watch(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: None)


def _hook_write(layer: nn.Module) -> None:
    def write(module: nn.Module, args: Any, output: Tensor) -> None:
        output.mul_(0.7)

    layer.register_forward_hook(write)


def _hook_before(layer: nn.Module) -> None:
    def change(module: nn.Module, args: tuple[Tensor, ...]) -> Any:
        real = args[0].is_floating_point()
        return (args[0] * 0.5 + 0.1, *args[1:]) if real else None

    layer.register_forward_pre_hook(change)


HOOKS: tuple[tuple[str, Callable[[nn.Module], None]], ...] = (
    ("hook x σ(x)", _hook_twice),
    ("hook 1.5 x", _hook_scale),
    ("hook that watches", _hook_watch),
    ("hook in place", _hook_write),
    ("hook before", _hook_before),
)


@dataclass
class Sentence:
    """One sentence while it is drawn."""

    draw: random.Random
    network: Network = field(default_factory=Network)
    words: list[str] = field(default_factory=list)
    faults: set[Fault] = field(default_factory=set)
    rounding: float = 1e-5
    layers: int = 0
    linear: bool = False  # Whether it keeps to what is piecewise linear, but for single words.

    def add(self, layer: nn.Module) -> str:
        """Register a layer, and give it what training would; return its name."""
        name = f"l{self.layers}"
        self.layers += 1
        for part in layer.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.5, 0.5)
                nn.init.uniform_(part.running_mean, -0.5, 0.5)
                nn.init.uniform_(part.running_var, 0.5, 2.0)
        chance = self.draw.random()
        if chance < 0.05 and not isinstance(layer, nn.RNNBase):
            layer.requires_grad_(False)
            self.words.append(f"frozen {name}")
        elif chance < 0.12 and not isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
            word, hook = self.draw.choice(HOOKS)
            self.words.append(f"{word} on {name}")
            hook(layer)
        self.network.add_module(name, layer)
        return name

    def parameter(self, *shape: int) -> str:
        """Register a parameter; return its name."""
        name = f"p{self.layers}"
        self.layers += 1
        self.network.register_parameter(name, nn.Parameter(torch.randn(shape) * 0.5 + 0.8))
        return name

    def say(self, word: str, step: Step) -> None:
        """Add a step."""
        self.words.append(word)
        self.network.steps.append(step)

    def pick(self, words: Iterable[str], linear: Collection[str]) -> str:
        """One of ``words``; mostly one that keeps logits piecewise linear where that is wished."""
        among = sorted(words)
        if self.linear and self.draw.random() < 0.85:
            among = [word for word in among if word in linear]
        return self.draw.choice(among)


Rule = Callable[[Sentence, tuple[int, ...]], tuple[str, Step, tuple[int, ...]]]
"""From the shape of one example's activations: a word, a step, and the shape after it."""


def often(*rules: tuple[Rule, int]) -> tuple[Rule, ...]:
    """Each rule as often as its weight says."""
    return tuple(rule for rule, weight in rules for _ in range(weight))
