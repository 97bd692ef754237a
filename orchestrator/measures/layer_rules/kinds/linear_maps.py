"""Linear maps without parameters: averages, padding, changes of shape, constant factors."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from orchestrator.measures.layer_rules.layer_call import (
    LayerCall,
    Parts,
    merged,
    rule_of,
    rule_of_functions,
    split,
)


@rule_of(
    *(getattr(nn, f"{kind}Pool{d}d") for kind in ("Avg", "AdaptiveAvg") for d in (1, 2, 3)),
    *(getattr(nn, f"{kind}Pad{d}d") for kind in ("Zero", "Reflection") for d in (1, 2, 3)),
    *(getattr(nn, f"{kind}Pad{d}d") for kind in ("Replication", "Circular") for d in (1, 2, 3)),
)
@rule_of_functions(
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    F,
)
class LinearMap(LayerCall):
    """z = f(a) for a linear f that acts on each example alone, whatever their number."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        self.shape = inputs[0].shape
        return self.apply(inputs[0])

    def apply(self, a: Tensor) -> Tensor:
        """Return f(a), shape ``(rows, …)``, for ``a`` with any number of rows."""
        result: Tensor = self.source.function(a)
        if len(result) != len(a):
            raise self.unknown("mixes different examples")
        return result

    def map(self, change: Tensor | None) -> Tensor | None:
        """Return f of each of k tangents."""
        return None if change is None else split(self.apply(merged(change)), len(change))

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        result = self.map(inputs[0])
        assert result is not None  # noqa: S101
        return result

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        if not self.needed[0]:
            return [None]
        rows = merged(delta)
        with torch.enable_grad():
            a = rows.new_zeros(len(rows), *self.shape[1:], requires_grad=True)
            (found,) = torch.autograd.grad(self.apply(a), a, rows)
        return [split(found, len(delta))]


@rule_of_functions("mean sum", torch)
class OverAxes(LinearMap):
    """A sum or mean over axes behind the examples."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        axes = self.argument(1, "dim")
        axes = [axes] if isinstance(axes, int) else list(axes or ())
        if not axes or any(axis % inputs[0].ndim == 0 for axis in axes):
            raise self.unknown("is not restricted to axes behind the examples")
        return super().forward(*inputs)


@rule_of_functions("transpose", torch)
class Transposition(LinearMap):
    """A swap of two axes behind the examples."""

    views = True

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        axes = self.argument(1, "dim0", 0), self.argument(2, "dim1", 0)
        if any(axis % inputs[0].ndim == 0 for axis in axes):
            raise self.unknown("moves the axis of the examples")
        return super().forward(*inputs)


@rule_of_functions("permute", torch)
class Permutation(LinearMap):
    """A permutation of the axes behind the examples."""

    views = True

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        arguments = self.source.arguments
        order = arguments[1:] if len(arguments) > 2 else self.argument(1, "dims", (1,))
        if order[0] % inputs[0].ndim != 0:
            raise self.unknown("moves the axis of the examples")
        return super().forward(*inputs)


@rule_of(nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
@rule_of(nn.Dropout3d, nn.AlphaDropout)
@rule_of_functions("view reshape flatten unflatten squeeze unsqueeze contiguous clone", torch)
class Reshape(LayerCall):
    """A change of shape that keeps all numbers in their order, and the axis of the examples."""

    views = True

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        (a,) = inputs
        result: Tensor = self.source.function(a)
        if result.shape[:1] != a.shape[:1] or result.numel() != a.numel():
            raise self.unknown("does not keep the axis of the examples")
        self.before, self.after = a.shape, result.shape
        return result

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        (change,) = inputs
        assert change is not None  # noqa: S101
        return change.reshape(len(change), *self.after)

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        return [delta.reshape(len(delta), *self.before)]


@rule_of_functions("dropout dropout1d dropout2d dropout3d alpha_dropout", F)
class NoDropout(Reshape):
    """Dropout in eval mode, which changes nothing."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        if self.argument(2, "training", True) is not False:
            raise self.unknown("is in training mode")
        return super().forward(*inputs)


@rule_of_functions("neg mul div truediv", torch, operator)
class Multiple(LayerCall):
    """An activation times or divided by a number."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        (a,) = inputs
        numbers = [value for value in self.source.arguments if not isinstance(value, fx.Node)]
        divides = "div" in str(getattr(self.source.target, "__name__", self.source.target))
        if not all(type(number) in (int, float) for number in numbers) or self.source.keywords:
            raise self.unknown("has factors other than numbers")
        if divides and not isinstance(self.source.arguments[0], fx.Node):
            raise self.unknown("divides by an activation")
        result: Tensor = self.source.function(a)
        return result

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        result: Tensor = self.source.function(inputs[0])
        return result

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        return [self.source.function(delta)]
