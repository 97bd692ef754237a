"""SAM."""

from __future__ import annotations

from torch import Tensor

from orchestrator.registry import builds
from orchestrator.study.training_options.optimizer_options import SamOptions
from orchestrator.training.optimizers.sharpness_aware import SharpnessAware, length


@builds(SamOptions)
class Sam(SharpnessAware):
    """SAM (Foret et al., arXiv:2010.01412, equation 2): ε = ρ g / ‖g‖."""

    def climb(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Return the vector ε; zero where the gradient is zero."""
        del values
        return gradients * (self.rho / length(gradients))
