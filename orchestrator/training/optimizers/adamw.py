"""AdamW."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from orchestrator.registry import builds
from orchestrator.study.training_options.optimizer_options import AdamwOptions
from orchestrator.training.optimizers.base import FlatOptimizer


@builds(AdamwOptions)
class Adamw(FlatOptimizer):
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2), bit for bit as PyTorch's.

    Weight decay multiplies the parameters by 1 − ηλ and is not part of the gradient.
    """

    def __init__(self, options: AdamwOptions, model: nn.Module, learning_rate: float) -> None:
        super().__init__(model, learning_rate)
        self.beta1, self.beta2, self.epsilon = options.beta1, options.beta2, options.epsilon
        self.weight_decay = options.weight_decay
        self._mean = torch.zeros_like(self.parameters.values)
        self._square = torch.zeros_like(self.parameters.values)
        self._updates = 0

    @torch.no_grad()
    def apply(self, factor: float) -> None:
        """Make an update with the current gradients."""
        values, gradients = self.parameters.values, self.parameters.gradients
        learning_rate = self.learning_rate * factor
        self._updates += 1
        values.mul_(1 - learning_rate * self.weight_decay)
        self._mean.lerp_(gradients, 1 - self.beta1)
        self._square.mul_(self.beta2).addcmul_(gradients, gradients, value=1 - self.beta2)
        step_size = learning_rate / (1 - self.beta1**self._updates)
        correction = math.sqrt(1 - self.beta2**self._updates)
        deviation = self._square.sqrt().div_(correction).add_(self.epsilon)
        values.addcdiv_(self._mean, deviation, value=-step_size)

    def state(self) -> dict[str, Any]:
        """Return both moments and the number of updates."""
        return {"mean": self._mean, "square": self._square, "updates": self._updates}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load both moments and the number of updates."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._updates = state["updates"]
