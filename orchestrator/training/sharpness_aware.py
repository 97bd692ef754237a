"""SAM and ASAM: descent along the gradient at the sharpest nearby point."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.training.first_order import Gradient, Optimizer, Sgd


class SharpnessAware(Optimizer):
    """Sharpness-aware minimization around SGD, on flat parameters.

    An update starts at the parameters w with the loss gradient g (without weight decay) and climbs
    to w + ε on the same batch. It then updates w with the gradient at w + ε:

    - SAM (Foret et al., arXiv:2010.01412, equation 2): ε = ρ g / ‖g‖
    - ASAM (Kwon et al., arXiv:2102.11600, section 4): ε = ρ T² g / ‖T g‖, T = |w| + η

    All parameters count, including biases and normalizations. Weight decay is the base optimizer's,
    at w. The second pass leaves the network's buffers (running statistics) as the first pass
    set them, and draws new dropout masks.

    Args:
        base: The optimizer that makes the update.
        model: The network, whose buffers are protected from a second update.
        rho: ρ, the radius of the climb.
        eta: η, for ASAM; None for SAM.
    """

    def __init__(
        self, base: Sgd, model: nn.Module, *, rho: float, eta: float | None = None
    ) -> None:
        self.base, self.model, self.rho, self.eta = base, model, rho, eta
        self.values = base.values

    def zero_gradients(self) -> None:
        """Clear the gradients of the previous update."""
        self.base.zero_gradients()

    def update(self, gradient: Gradient, factor: float) -> None:
        """Climb, compute the gradient there, return to the start and apply the gradient."""
        gradient()
        values = self.base.parameters.values
        with torch.no_grad():
            kept = values.clone()
            values.add_(self._climb())
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        gradient()
        with torch.no_grad():
            values.copy_(kept)
            for buffer, before in buffers:
                buffer.copy_(before)
        self.base.apply(factor)

    def _climb(self) -> Tensor:
        """Return the vector ε; zero where the gradient is zero."""
        gradients = self.base.parameters.gradients
        if self.eta is None:
            return gradients * (self.rho / _length(gradients))
        scale = self.base.parameters.values.abs() + self.eta
        scaled = scale * gradients
        return scale * scaled * (self.rho / _length(scaled))

    def state(self) -> dict[str, Any]:
        """Return the base optimizer's state."""
        return self.base.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the base optimizer's state."""
        self.base.load_state(state)


def _length(vector: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vector)
    return length.clamp_min(torch.finfo(vector.dtype).tiny)
