"""Adaptive SAM."""

from __future__ import annotations

from torch import Tensor, nn

from orchestrator.registry import builds
from orchestrator.study.training_options.optimizer_options import AsamOptions
from orchestrator.training.optimizers.sharpness_aware import SharpnessAware, length


@builds(AsamOptions)
class Asam(SharpnessAware):
    """ASAM (Kwon et al., arXiv:2102.11600, section 4): ε = ρ T² g / ‖T g‖ with T = |w| + η."""

    def __init__(self, options: AsamOptions, model: nn.Module, learning_rate: float) -> None:
        super().__init__(options, model, learning_rate)
        self.eta = options.eta

    def climb(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Return the vector ε; zero where the gradient is zero."""
        scale = values.abs() + self.eta
        scaled = scale * gradients
        return scale * scaled * (self.rho / length(scaled))
