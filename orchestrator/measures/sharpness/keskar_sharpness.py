"""The largest loss in a box around the weights, relative to the loss."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from torch import Tensor

from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import displaced_gradient
from orchestrator.measures.sharpness.projected_ascent import Ascent, projected_ascent
from orchestrator.study.measure_options.sharpness import KeskarSharpnessOptions


def box_ascent(context: MeasureContext, epsilon: float, steps: int) -> Ascent:
    """Maximize the training loss over |u_i| ≤ ε (|θ_i| + 1).

    Args:
        context: The network and its data.
        epsilon: ε.
        steps: Steps of the ascent.

    Returns:
        Loss at θ, the largest loss seen, and u / (ε (|θ| + 1)) there.
    """
    half_widths = epsilon * (context.parameter_vector().abs() + 1)

    def objective(unit: Tensor) -> tuple[float, Tensor]:
        found, gradient = displaced_gradient(context, half_widths * unit)
        return found.loss, half_widths * gradient

    fallback = context.probe(0, "gaussian")
    return projected_ascent(objective, norm="linf", radius=1.0, steps=steps, fallback=fallback)


class KeskarSharpness(Measure):
    """100 · (max L(θ + u) − L(θ)) / (1 + L(θ)), |u_i| ≤ ε (|θ_i| + 1).

    Metric 2.1 of Keskar et al., arXiv:1609.04836, in the full space (their A the identity), for
    each ε. They maximize by a few iterations of L-BFGS-B; here it is projected gradient ascent
    on all measured training examples (``projected_ascent``), a lower bound of the maximum that
    is no less exact in boxes this small, where the loss is almost linear.

    Invariances: none under rescaling of layers, because of the 1 in the box, nor with the logit
    scale. Lower is flatter. Cost: ``steps`` + 1 gradients for each ε.
    """

    entries = (
        CatalogEntry(
            measure="keskar_sharpness",
            family="flatness",
            symbol="100 (max L(θ + u) − L)/(1 + L), |u| ≤ ε(|θ| + 1)",
            unit="%",
            direction="lower",
            citation="Keskar et al., arXiv:1609.04836, metric 2.1",
            cost="steps + 1 G for each epsilon",
        ),
    )

    def __init__(self, options: KeskarSharpnessOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield one value for each ε."""
        for epsilon in dict.fromkeys(self.options.epsilons):
            ascent = box_ascent(context, epsilon, self.options.steps)
            value = 100 * (ascent.value - ascent.start) / (1 + ascent.start)
            reason = None if isfinite(value) else "the loss is not finite in the box"
            yield Value("keskar_sharpness", value, None, f"epsilon={epsilon!r}", reason=reason)
