"""Sharpness-aware minimization: descent along the gradient at the sharpest nearby point."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.study.training_options.optimizer_options import AsamOptions, SamOptions
from orchestrator.training.optimizers.base import Gradient, Optimizer
from orchestrator.training.optimizers.sgd import Sgd


class SharpnessAware(Optimizer):
    """Base of sharpness-aware minimization around SGD, on flat parameters.

    An update starts at the parameters w with the loss gradient g (without weight decay) and climbs
    to w + ε on the same batch. It then updates w with the gradient at w + ε.

    All parameters count, including biases and normalizations. Weight decay is the base optimizer's,
    at w. The second pass leaves the network's buffers (running statistics) as the first pass
    set them, and draws new dropout masks.

    Args:
        options: ρ, and the options of SGD, which makes the update.
        model: The network, whose buffers are protected from a second update.
        learning_rate: Effective learning rate, after scaling with the batch size.
    """

    def __init__(
        self, options: SamOptions | AsamOptions, model: nn.Module, learning_rate: float
    ) -> None:
        self.base, self.model, self.rho = Sgd(options, model, learning_rate), model, options.rho
        self.values = self.base.values

    def zero_gradients(self) -> None:
        """Clear the gradients of the previous update."""
        self.base.zero_gradients()

    def update(self, gradient: Gradient, factor: float) -> None:
        """Climb, compute the gradient there, return to the start and apply the gradient."""
        gradient()
        values = self.base.parameters.values
        with torch.no_grad():
            kept = values.clone()
            values.add_(self.climb(values, self.base.parameters.gradients))
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        gradient()
        with torch.no_grad():
            values.copy_(kept)
            for buffer, before in buffers:
                buffer.copy_(before)
        self.base.apply(factor)

    @abstractmethod
    def climb(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Return the vector ε; zero where the gradient is zero."""

    def state(self) -> dict[str, Any]:
        """Return the base optimizer's state."""
        return self.base.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the base optimizer's state."""
        self.base.load_state(state)


def length(vector: Tensor) -> Tensor:
    """Return the Euclidean length of a vector, but at least the smallest normal number."""
    norm: Tensor = torch.linalg.vector_norm(vector)
    return norm.clamp_min(torch.finfo(vector.dtype).tiny)
