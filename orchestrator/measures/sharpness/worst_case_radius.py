"""The largest change of the weights that the accuracy withstands in the worst case."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite, isnan, nan

import torch
from torch import Tensor

from orchestrator.measures.base import CatalogEntry, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import displaced, displaced_gradient
from orchestrator.measures.sharpness.projected_ascent import projected_ascent
from orchestrator.measures.sharpness.threshold_search import (
    Threshold,
    censored_reason,
    largest_withstood,
)
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.sharpness import WorstCaseRadiusOptions

_SUMMARY: tuple[tuple[str, str, str, Direction, str], ...] = (
    (
        "worst_case_radius",
        "max α: acc(θ) − min acc(θ + u) ≤ 0.1, |u_i| ≤ α",
        "weight",
        "higher",
        "Jiang et al., arXiv:1912.02178",
    ),
    (
        "inverse_square_radius",
        "1/α²",
        "1 / weight²",
        "lower",
        "Jiang et al., arXiv:1912.02178, eq. 52 and 60",
    ),
)
_INVARIANCES = "layer rescaling (magnitude_aware, epsilon=0)"
_ROUNDING = 1e-9  # A drop of exactly accuracy_drop, a share of examples, is still allowed.


def worst_case_radius(context: MeasureContext, options: WorstCaseRadiusOptions) -> Threshold | None:
    """Return the largest α for which no change found in the box costs over ``accuracy_drop``.

    In each box the training loss is maximized (``projected_ascent`` with ``steps`` steps), and
    the accuracy is checked along the way. Boxes contain smaller ones, but an ascent may miss in a
    larger box a point that it found in a smaller one. The search therefore starts from the largest.

    Returns:
        α; None if logits are NaN or +∞ at θ.
    """
    theta = context.parameter_vector()
    before = displaced(context, torch.zeros_like(theta)).error
    if isnan(before):
        return None
    fallback = context.probe(0, "gaussian")

    def breaks(radius: float) -> bool:
        box = half_widths(theta, radius, options)

        def objective(unit: Tensor) -> tuple[float, Tensor]:
            found, gradient = displaced_gradient(context, box * unit)
            withstood = found.error - before <= options.accuracy_drop + _ROUNDING
            # Infinity ends the ascent with the answer; NaN logits predict nothing.
            return (found.loss if withstood else inf), box * gradient

        ascent = projected_ascent(
            objective, norm="linf", radius=1.0, steps=options.steps, fallback=fallback
        )
        return not isfinite(ascent.value)

    return largest_withstood(breaks, largest=options.largest, tolerance=options.tolerance)


def half_widths(theta: Tensor, radius: float, options: WorstCaseRadiusOptions) -> Tensor:
    """Return the largest change of each parameter: α, or α′ |θ_i| + ε if magnitude-aware."""
    if not options.magnitude_aware:
        return torch.full_like(theta, radius)
    return radius * theta.abs() + options.epsilon


class WorstCaseRadius(Measure, options=WorstCaseRadiusOptions):
    """The box around the weights in which the accuracy falls by at most ``accuracy_drop``.

    - ``worst_case_radius``: the largest α with acc(θ) − acc(θ + u) ≤ 0.1 for all |u_i| ≤ α; if
      ``magnitude_aware``, α′ with |u_i| ≤ α′ |θ_i| + ε (Jiang et al., arXiv:1912.02178).
    - ``inverse_square_radius``: 1/α² (equation 52; 60 if magnitude-aware).

    The accuracy is that of all measured training examples together. The worst u is searched for by
    ascent on the training loss, so α is an upper bound of the true value, and tighter with more
    ``steps``. If ``largest`` is withstood, the values are those at ``largest`` and marked
    ``censored``. A loss that is not finite counts as a drop of the accuracy.

    Invariances: α′ does not change under rescaling of ReLU layers as ε → 0; α does. Higher is
    flatter. Cost: 50 to 200 gradients; boxes that are too large take one or two.
    """

    version = 2
    entries = tuple(
        CatalogEntry(
            name, "flatness", symbol, unit, direction, citation, "50 to 200 G", _INVARIANCES
        )
        for name, symbol, unit, direction, citation in _SUMMARY
    )

    requires = PARAMETER_GRADIENTS

    def __init__(self, options: WorstCaseRadiusOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield α and 1/α²."""
        found = worst_case_radius(context, self.options)
        variant = f"drop={self.options.accuracy_drop!r}"
        variant += ", magnitude_aware" if self.options.magnitude_aware else ""
        radius = nan if found is None else found.value
        reason: str | None = "the logits are not finite at these weights"
        if found is not None:
            reason = censored_reason(found, "α", self.options.accuracy_drop)
        yield Value("worst_case_radius", radius, None, variant, reason=reason)
        yield Value("inverse_square_radius", radius**-2, None, variant, reason=reason)
