"""SAM and ASAM: descend along the gradient found at the sharpest point near by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.training.first_order import Gradient, Optimizer, Sgd


class SharpnessAware(Optimizer):
    """Sharpness-aware minimization around SGD, on flat parameters.

    From the parameters w and the gradient g of the loss there (without weight decay), climb to
    w + ε on the same batch, and make the update at w with the gradient found at w + ε:

    - SAM (Foret et al., arXiv:2010.01412, equation 2): ε = ρ g / ‖g‖
    - ASAM (Kwon et al., arXiv:2102.11600, section 4): ε = ρ T² g / ‖T g‖, T = |w| + η

    All parameters count, biases and normalizations too. Weight decay is the base optimizer's,
    at w. The second pass leaves the network's buffers (running statistics) as the first pass
    set them; dropout draws anew in it.

    Args:
        base: Makes the update.
        model: Its buffers are kept from being updated twice.
        rho: ρ, the radius of the climb.
        eta: η, for ASAM; None for SAM.
    """

    def __init__(
        self, base: Sgd, model: nn.Module, *, rho: float, eta: float | None = None
    ) -> None:
        self.base, self.model, self.rho, self.eta = base, model, rho, eta
        self.values = base.values

    def zero_gradients(self) -> None:
        """Forget the gradients of the update before."""
        self.base.zero_gradients()

    def update(self, gradient: Gradient, factor: float) -> None:
        """Climb, compute the gradient there, return, and apply it."""
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
        """The vector ε; zero where the gradient is."""
        gradients = self.base.parameters.gradients
        if self.eta is None:
            return gradients * (self.rho / _length(gradients))
        scale = self.base.parameters.values.abs() + self.eta
        scaled = scale * gradients
        return scale * scaled * (self.rho / _length(scaled))

    def state(self) -> dict[str, Any]:
        """The base optimizer's."""
        return self.base.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """The base optimizer's."""
        self.base.load_state(state)


def _length(vector: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vector)
    return length.clamp_min(torch.finfo(vector.dtype).tiny)
