"""The increase of the loss after one step uphill."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.sharpness import SamSharpnessOptions


def ascent_step(gradient: Tensor, scale: Tensor, rho: float) -> Tensor:
    """Return the δ that maximizes ⟨g, δ⟩ over ‖δ / c‖₂ ≤ ρ: δ = ρ c² g / ‖c g‖₂.

    Args:
        gradient: g, flat.
        scale: c ≥ 0, flat. Where c is 0, δ is 0.
        rho: Radius of the ball.

    Returns:
        δ, flat; 0 if c g vanishes entirely.
    """
    direction = scale * gradient
    # Divided by the largest entry before taking the norm, so that squares do not underflow.
    largest = direction.abs().amax()
    if largest == 0:
        return torch.zeros_like(gradient)
    unit = direction / largest
    step: Tensor = rho * scale * (unit / torch.linalg.vector_norm(unit))
    return step


class SamSharpness(Measure, options=SamSharpnessOptions):
    """L(θ + δ) − L(θ) of the training loss, δ one step along the gradient to the ball's edge.

    - default: δ = ρ g / ‖g‖₂ (Foret et al., arXiv:2010.01412, equation 2 with p = 2);
    - ``adaptive``: δ = ρ θ² g / ‖θ g‖₂ (Kwon et al., arXiv:2102.11600, adaptive
      sharpness with p = 2, T_w = |w| on every trainable parameter and η = 0), so that an exact
      zero stays zero.

    The gradient is that of all measured training examples, not of a batch (m-sharpness with
    m = n), and the step is not projected or repeated. The value is thus a lower bound of the worst
    case in the ball. If the gradient vanishes, the value is 0.

    Invariances: the adaptive variant does not change under rescaling of ReLU layers; the default
    does. Both change with the logit scale. Lower is flatter. Cost: one gradient (shared) and one
    forward pass.
    """

    needs = frozenset({"gradient_graph"})
    requires = PARAMETER_GRADIENTS
    version = 2
    entries = (
        CatalogEntry(
            measure="sam_sharpness",
            family="flatness",
            symbol="L(θ + ρ g/‖g‖) − L(θ)",
            unit="loss",
            direction="lower",
            citation="Foret et al., arXiv:2010.01412, eq. 2; Kwon et al., arXiv:2102.11600",
            cost="1 G + 1 F",
            invariances="layer rescaling (adaptive)",
        ),
    )

    def __init__(self, options: SamSharpnessOptions) -> None:
        self.rho = options.rho
        self.adaptive = options.adaptive

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the value."""
        gradient = context.gradient("train")
        scale = context.parameter_vector().abs() if self.adaptive else torch.ones_like(gradient)
        step = ascent_step(gradient, scale, self.rho)
        increase = context.loss_at(step) - context.loss_value("train")
        yield Value("sam_sharpness", increase, variant=ball_text(self.rho, self.adaptive))


def ball_text(rho: float, adaptive: bool) -> str:
    """Return the canonical text of a ball around θ: ``rho=0.05`` or ``rho=0.05, adaptive``."""
    return f"rho={rho!r}" + (", adaptive" if adaptive else "")
