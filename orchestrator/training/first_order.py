"""Optimizers that need one gradient per update.

The arithmetic is bit for bit that of ``torch.optim``, but without its bookkeeping per call, which
takes longer than the update itself in small networks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from orchestrator.training.flat_parameters import FlatParameters

Gradient = Callable[[], Tensor]


class Optimizer(ABC):
    """Base class of optimizers, which change parameters one update at a time.

    Attributes:
        values: The tensors that the optimizer changes.
        repeats_gradients: Whether an update may compute the gradient more than once.
    """

    values: list[Tensor]
    repeats_gradients = True

    @abstractmethod
    def zero_gradients(self) -> None:
        """Clear the gradients of the previous update."""

    @abstractmethod
    def update(self, gradient: Gradient, factor: float) -> None:
        """Make one update.

        Args:
            gradient: Computes loss and gradients at the current parameters; may be called
                repeatedly.
            factor: Factor of the learning rate, from the schedule.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state needed to resume: tensors, numbers and containers, not copied."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from a ``state``, which is copied and not modified."""


class FlatOptimizer(Optimizer):
    """An optimizer of flat parameters that needs one gradient per update."""

    repeats_gradients = False

    def __init__(self, parameters: FlatParameters, learning_rate: float) -> None:
        self.parameters = parameters
        self.values = [parameters.values]
        self.learning_rate = learning_rate

    def zero_gradients(self) -> None:
        """Clear the gradients of the previous update."""
        self.parameters.zero_gradients()

    def update(self, gradient: Gradient, factor: float) -> None:
        """Compute the gradient and apply it."""
        gradient()
        self.apply(factor)

    @abstractmethod
    def apply(self, factor: float) -> None:
        """Make an update with the current gradients."""


class Sgd(FlatOptimizer):
    """Stochastic gradient descent, with momentum, Nesterov and weight decay as in PyTorch.

    With gradient g and weight decay λ: g ← g + λw, b ← μb + g, w ← w − ηb; with Nesterov
    momentum w ← w − η(g + μb). Weight decay is part of the gradient (an L2 penalty).
    """

    def __init__(
        self,
        parameters: FlatParameters,
        learning_rate: float,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, learning_rate)
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        self._velocity = torch.zeros_like(parameters.values)

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


class Adamw(FlatOptimizer):
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2), as PyTorch computes it.

    Weight decay multiplies the parameters by 1 − ηλ and is not part of the gradient.
    """

    def __init__(
        self,
        parameters: FlatParameters,
        learning_rate: float,
        *,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        super().__init__(parameters, learning_rate)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.weight_decay = weight_decay
        self._mean = torch.zeros_like(parameters.values)
        self._square = torch.zeros_like(parameters.values)
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
