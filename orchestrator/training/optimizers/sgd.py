"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from orchestrator.registry import builds
from orchestrator.study.training_options.optimizer_options import (
    AsamOptions,
    SamOptions,
    SgdOptions,
)
from orchestrator.training.optimizers.base import FlatOptimizer


@builds(SgdOptions)
class Sgd(FlatOptimizer):
    """Stochastic gradient descent, bit for bit as ``torch.optim.SGD`` computes it.

    With gradient g and weight decay λ: g ← g + λw, b ← μb + g, w ← w − ηb; with Nesterov
    momentum w ← w − η(g + μb). Weight decay is part of the gradient (an L2 penalty).
    """

    def __init__(
        self,
        options: SgdOptions | SamOptions | AsamOptions,
        model: nn.Module,
        learning_rate: float,
    ) -> None:
        super().__init__(model, learning_rate)
        self.momentum, self.nesterov = options.momentum, options.nesterov
        self.weight_decay = options.weight_decay
        self._velocity = torch.zeros_like(self.parameters.values)

    @torch.no_grad()
    def apply(self, factor: float) -> None:
        """Make an update with the current gradients."""
        values, change = self.parameters.values, self.parameters.gradients
        if self.weight_decay:
            change = change.add(values, alpha=self.weight_decay)
        if self.momentum:
            self._velocity.mul_(self.momentum).add_(change)
            change = (
                change.add(self._velocity, alpha=self.momentum) if self.nesterov else self._velocity
            )
        values.add_(change, alpha=-self.learning_rate * factor)

    def state(self) -> dict[str, Any]:
        """Return the velocity if momentum is used."""
        return {"velocity": self._velocity} if self.momentum else {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the velocity."""
        if self.momentum:
            self._velocity.copy_(state["velocity"])
