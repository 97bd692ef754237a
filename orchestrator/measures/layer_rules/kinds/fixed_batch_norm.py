"""Batch normalization with fixed statistics: a scale and a shift per channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.measures.layer_rules.layer_call import LayerCall, Parts, rule_of


@rule_of(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
class FixedBatchNorm(LayerCall):
    """z = w x + b with x = (a − μ) / √(σ² + ε)."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        (a,) = inputs
        module: Any = self.source.module
        if module.running_mean is None or module.running_var is None:
            raise self.unknown("normalizes by batch statistics")
        self.axes = [1] * (a.ndim - 2)
        self.inverse = self._channels((module.running_var + module.eps).rsqrt())
        self.scale = self.inverse
        if self.source.module.weight is not None:  # type: ignore[union-attr]
            self.scale = self.scale * self._channels(self.weight)
        self.x = (a - self._channels(module.running_mean)) * self.inverse
        z: Tensor = module(a)
        return z.detach()

    def arrive(self, delta: Tensor) -> None:  # noqa: D102
        self.delta = delta

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        (change,) = inputs
        terms = [] if change is None else [change * self.scale]
        if "weight" in self.trained:
            terms.append(self._channels(directions[self.trained["weight"]]) * self.x)
        if "bias" in self.trained:
            terms.append(self._channels(directions[self.trained["bias"]]).expand(-1, *self.x.shape))
        result = terms[0]
        for term in terms[1:]:
            result = result + term
        return result

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        if "weight" in self.trained:
            gradients[self.trained["weight"]].add_(_sums(delta * self.x))
        if "bias" in self.trained:
            gradients[self.trained["bias"]].add_(_sums(delta))
        return [delta * self.scale if self.needed[0] else None]

    def second(  # noqa: D102
        self, inputs: Sequence[Tensor | None], directions: Parts, gradients: Parts
    ) -> Sequence[Tensor | None] | None:
        (change,) = inputs
        if change is None or "weight" not in self.trained:
            return None
        place, scaled = self.trained["weight"], self.delta * self.inverse
        gradients[place].add_(_sums(change * scaled))
        return [self._channels(directions[place]) * scaled]

    def _channels(self, values: Tensor) -> Tensor:
        """Return ``(channels,)`` or ``(k, channels)`` so that it multiplies activations."""
        shaped = values.reshape(*values.shape, *self.axes)
        return shaped if values.ndim == 1 else shaped.unsqueeze(1)


def _sums(rows: Tensor) -> Tensor:
    """Return the sums of ``(k, n, channels, …)`` per direction and channel."""
    return torch.sum(rows, dim=[1, *range(3, rows.ndim)])
