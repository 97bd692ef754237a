"""Operations that join several activations: sums, differences and concatenations."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, fx

from orchestrator.measures.layer_rules.layer_call import LayerCall, Parts, rule_of_functions


@rule_of_functions("add sub", torch, operator)
@rule_of_functions("iadd", operator)
class Sum(LayerCall):
    """a + b or a − b, of two activations of the same shape or of an activation and a number."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        others = [value for value in self.source.arguments if not isinstance(value, fx.Node)]
        if not all(type(value) in (int, float) for value in others) or self.source.keywords:
            raise self.unknown("has operands other than activations and numbers")
        z: Tensor = self.source.function(*inputs)
        if any(a.shape != z.shape for a in inputs):
            raise self.unknown("broadcasts an activation")
        minus = -1.0 if "sub" in self.source.name else 1.0
        first = isinstance(self.source.arguments[0], fx.Node)
        self.signs = [1.0, minus][: len(inputs)] if first else [minus]
        return z

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        terms = zip(self.signs, inputs, strict=True)
        signed = [_signed(a, sign) for sign, a in terms if a is not None]
        return signed[0] if len(signed) == 1 else signed[0] + signed[1]

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        return [_signed(delta, sign) for sign in self.signs]


@rule_of_functions("cat concat", torch)
class Concatenation(LayerCall):
    """Activations side by side along an axis behind the examples."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        axis = self.argument(1, "dim", 0) % inputs[0].ndim
        if axis == 0 or len({a.ndim for a in inputs}) > 1:
            raise self.unknown("joins different examples")
        self.axis, self.shapes = axis + 1, [a.shape for a in inputs]
        z: Tensor = self.source.function(*inputs)
        return z

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        one = next(change for change in inputs if change is not None)
        shapes = zip(inputs, self.shapes, strict=True)
        parts = [one.new_zeros(len(one), *s) if a is None else a for a, s in shapes]
        return torch.cat(parts, self.axis)

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        return torch.split(delta, [shape[self.axis - 1] for shape in self.shapes], self.axis)


def _signed(rows: Tensor, sign: float) -> Tensor:
    return rows if sign == 1 else -rows
