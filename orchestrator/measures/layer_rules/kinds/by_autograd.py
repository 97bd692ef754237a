"""Layers whose derivatives are left to automatic differentiation, one direction at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orchestrator.measures.layer_rules.layer_call import LayerCall, Parts, Source, rule_of

_GRAPH_TENSORS = 8
"""How many tensors of the size of its input a layer's two graphs keep, about."""


@rule_of(nn.LayerNorm, nn.GroupNorm, nn.PReLU, nn.Softmax, nn.LogSoftmax, nn.Hardswish)
class ByAutograd(LayerCall):
    """z = f(a, θ) for any f with two derivatives.

    With g(δ) = ∂⟨δ, z⟩ / ∂(a, θ), the tangent along u is ∂⟨g(δ), u⟩ / ∂δ, and the second
    derivative is ∂⟨g(δ), u⟩ / ∂(a, θ).
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        module = source.module
        assert module is not None  # noqa: S101
        self._places = list(source.trained.values())
        self._trained = [getattr(module, name) for name in source.trained]

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        self.a = inputs[0].detach().requires_grad_()
        with torch.enable_grad():
            self.z: Tensor = self.source.function(self.a)
        z: Tensor = self.z.detach()
        return z

    def arrive(self, delta: Tensor) -> None:  # noqa: D102
        self.delta = delta.detach().requires_grad_()
        with torch.enable_grad():
            self._slopes = torch.autograd.grad(
                self.z, [self.a, *self._trained], self.delta, create_graph=True
            )

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        scalars = self._along(inputs, directions)
        found = [torch.autograd.grad(s, self.delta, retain_graph=True)[0] for s in scalars]
        return torch.stack(found)

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        found = [
            torch.autograd.grad(self.z, [self.a, *self._trained], row, retain_graph=True)
            for row in delta
        ]
        return self._collected(found, gradients)

    def second(  # noqa: D102
        self, inputs: Sequence[Tensor | None], directions: Parts, gradients: Parts
    ) -> Sequence[Tensor | None] | None:
        variables = [self.a, *self._trained]
        found = [
            torch.autograd.grad(
                scalar, variables, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for scalar in self._along(inputs, directions)
        ]
        return self._collected(found, gradients)

    def _along(self, inputs: Sequence[Tensor | None], directions: Parts) -> list[Tensor]:
        """Return ⟨g(δ), u⟩ for each direction u, with its graph."""
        (change,) = inputs
        along = [change, *(directions[place] for place in self._places)]
        with torch.enable_grad():
            terms = [
                (slope * u).reshape(len(u), -1).sum(1)
                for slope, u in zip(self._slopes, along, strict=True)
                if u is not None
            ]
            return list(torch.stack(terms).sum(0))

    def _collected(
        self, found: Sequence[Sequence[Tensor]], gradients: Parts
    ) -> Sequence[Tensor | None]:
        of_input, *of_trained = (torch.stack(parts) for parts in zip(*found, strict=True))
        for place, gradient in zip(self._places, of_trained, strict=True):
            gradients[place].add_(gradient)
        return [of_input if self.needed[0] else None]

    @property
    def kept_bytes(self) -> int:  # noqa: D102
        return _GRAPH_TENSORS * self.a.numel() * self.a.element_size()
