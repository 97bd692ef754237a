"""Results of single Hessian probes, shared by all measures that average over probes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.scaling import norm


class ProbeMoments(NamedTuple):
    """Numbers computed from one product H v with a vector of independent entries ±1.

    Attributes:
        blocks: v_lᵀ(Hv)_l of each parameter l, with the trace of its diagonal block as mean;
            their sum vᵀHv has mean tr H.
        length: ‖Hv‖, with mean square ‖H‖_F².
    """

    blocks: tuple[float, ...]
    length: float


def probe_moments(context: MeasureContext, index: int) -> ProbeMoments:
    """Return the moments of the product with probe number ``index``, which is not kept."""

    def compute() -> ProbeMoments:
        vector = context.probe(index)
        product = context.hessian @ vector
        return ProbeMoments(block_forms(context, vector, product), norm(product))

    return context.shared(("probe_moments", index), compute)


def block_forms(context: MeasureContext, vector: Tensor, product: Tensor) -> tuple[float, ...]:
    """Return v_lᵀ(Av)_l of each parameter l from the flat vectors v and A v."""
    terms = (vector * product).to(torch.float64)
    parts = torch.split(terms, [parameter.numel() for parameter in context.parameters.values()])
    return tuple(torch.stack([part.sum() for part in parts]).tolist())
