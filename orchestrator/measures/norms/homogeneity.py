"""Positively homogeneous networks: their degree, and the norm that it makes of the weights."""

from __future__ import annotations

from math import inf, log2

import torch

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.network import in_precision

_TOLERANCE = 1e-9
_EXAMPLES = 64


def degree_of_homogeneity(context: MeasureContext) -> int:
    """D with f(cθ; x) = c^D f(θ; x) for all c > 0, as in Lyu and Li, arXiv:1906.05890, section 2.

    It is tried with c = 2 and c = ½ on the first training examples: multiplying by a power of
    two rounds nothing, so that a homogeneous network is seen to be one in any precision.
    D is the number of weight layers of a piecewise linear network without biases.

    Raises:
        MeasureError: If the network is not homogeneous: it has biases that matter, smooth
            activations, or batch normalization; or if its logits are all 0 or not finite.
    """

    def compute() -> int:
        inputs = in_precision(context.data("train")[0][:_EXAMPLES], context.dtype)
        logits, doubled, halved = (_logits(context, inputs, factor) for factor in (1.0, 2.0, 0.5))
        largest, larger = logits.abs().max().item(), doubled.abs().max().item()
        if not (0 < largest < inf and 0 < larger < inf):
            raise MeasureError("homogeneity can't be seen: the logits are all 0 or not finite")
        degree = round(log2(larger / largest))
        for restored in (doubled / 2.0**degree, halved * 2.0**degree):
            if not torch.allclose(restored, logits, rtol=0, atol=_TOLERANCE * largest):
                raise MeasureError(
                    "the network is not homogeneous in its parameters: scaling them all does "
                    "not merely scale its logits",
                    "piecewise linear networks without biases and normalization layers are",
                )
        return degree

    return context.shared("degree_of_homogeneity", compute)


def homogeneous_norm(context: MeasureContext) -> float:
    """‖θ‖₂^D, D the degree of homogeneity, for the normalized margin γ / ‖θ‖^D.

    Gradient descent on exponentially tailed losses makes the smallest such margin grow late in
    training (Lyu and Li, arXiv:1906.05890, equation 2).

    Raises:
        MeasureError: As :func:`degree_of_homogeneity`.
    """
    norm: float = torch.linalg.vector_norm(context.parameter_vector().double()).item()
    return norm ** degree_of_homogeneity(context)


def _logits(context: MeasureContext, inputs: torch.Tensor, factor: float) -> torch.Tensor:
    scaled = context.unflatten(context.parameter_vector() * factor)
    names = context.parameters
    with torch.no_grad():
        return context.forward(inputs, dict(zip(names, scaled, strict=True))).double()
