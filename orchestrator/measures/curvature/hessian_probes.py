"""What one random probe of the Hessian tells, shared by all measures that average over probes."""

from __future__ import annotations

from typing import NamedTuple

import torch

from orchestrator.measures.context import MeasureContext


class ProbeMoments(NamedTuple):
    """Two numbers of one product H v with a vector of independent entries ±1.

    Attributes:
        quadratic_form: vᵀHv, whose mean is tr H.
        squared_length: ‖Hv‖², whose mean is ‖H‖_F².
    """

    quadratic_form: float
    squared_length: float


def probe_moments(context: MeasureContext, index: int) -> ProbeMoments:
    """The product with probe number ``index`` of ``context``, of which only these are kept."""

    def compute() -> ProbeMoments:
        vector = context.probe(index)
        product = context.hessian_vector_product(vector)
        return ProbeMoments(
            torch.dot(vector, product).item(),
            product.to(torch.float64).square().sum().item(),
        )

    return context.shared(("probe_moments", index), compute)
