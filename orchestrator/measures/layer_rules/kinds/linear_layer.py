"""Linear layers: z = a Wᵀ + b, with any axes between examples and features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator.measures.layer_rules.layer_call import LayerCall, Parts, rule_of


@rule_of(nn.Linear)
class Linear(LayerCall):
    """z = a Wᵀ + b. All axes but the last are the rows of one matrix."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        (a,) = inputs
        self.axes = a.shape[:-1]
        self.a = a.reshape(-1, a.shape[-1])
        return F.linear(a, self.weight, self.bias)

    def arrive(self, delta: Tensor) -> None:  # noqa: D102
        self.delta = delta.reshape(-1, delta.shape[-1])

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        (change,) = inputs
        result = None
        if change is not None:
            result = F.linear(_matrices(change), self.weight)
        if "weight" in self.trained:
            v = directions[self.trained["weight"]]
            a = self.a.expand(len(v), *self.a.shape)
            result = torch.bmm(a, v.mT) if result is None else result.baddbmm_(a, v.mT)
        if "bias" in self.trained:
            v = directions[self.trained["bias"]][:, None]
            result = v.repeat(1, len(self.a), 1) if result is None else result.add_(v)
        assert result is not None  # noqa: S101
        return result.reshape(len(result), *self.axes, -1)

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        delta = _matrices(delta)
        if "weight" in self.trained:
            a = self.a.expand(len(delta), *self.a.shape)
            gradients[self.trained["weight"]].baddbmm_(delta.mT, a)
        if "bias" in self.trained:
            gradients[self.trained["bias"]].add_(delta.sum(1))
        if not self.needed[0]:
            return [None]
        return [torch.matmul(delta, self.weight).reshape(len(delta), *self.axes, -1)]

    def second(  # noqa: D102
        self, inputs: Sequence[Tensor | None], directions: Parts, gradients: Parts
    ) -> Sequence[Tensor | None] | None:
        (change,) = inputs
        if change is None or "weight" not in self.trained:
            return None
        v = directions[self.trained["weight"]]
        delta = self.delta.expand(len(v), *self.delta.shape)
        gradients[self.trained["weight"]].baddbmm_(delta.mT, _matrices(change))
        return [torch.bmm(delta, v).reshape(len(v), *self.axes, -1)]


def _matrices(rows: Tensor) -> Tensor:
    """Return ``(k, n, …, features)`` as ``(k, n · …, features)``."""
    return rows.reshape(len(rows), -1, rows.shape[-1])
