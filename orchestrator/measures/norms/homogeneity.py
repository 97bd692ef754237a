"""Positively homogeneous networks: their degree, and the weight norm to that power."""

from __future__ import annotations

from math import inf, log2

import torch

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.network import in_precision

_TOLERANCE = 1e-9
_EXAMPLES = 64


def degree_of_homogeneity(context: MeasureContext) -> int:
    """Return D with f(cθ; x) = c^D f(θ; x) for all c > 0.

    The definition is that of Lyu and Li, arXiv:1906.05890, section 2. It is tested with c = 2 and
    c = ½ on the first training examples. Multiplying by a power of two causes no rounding, so a
    homogeneous network is recognized in any precision. For a piecewise linear network without
    biases, D is the number of weight layers.

    Raises:
        MeasureError: If the network is not homogeneous because of biases that matter, smooth
            activations or batch normalization; or if its logits are all 0 or not finite.
    """

    def compute() -> int:
        inputs = in_precision(context.data("train")[0][:_EXAMPLES], context.dtype)
        logits, doubled, halved = (_logits(context, inputs, factor) for factor in (1.0, 2.0, 0.5))
        largest, larger = logits.abs().max().item(), doubled.abs().max().item()
        if not (0 < largest < inf and 0 < larger < inf):
            raise MeasureError("homogeneity cannot be tested: logits are all 0 or not finite")
        degree = round(log2(larger / largest))
        for restored in (doubled / 2.0**degree, halved * 2.0**degree):
            if not torch.allclose(restored, logits, rtol=0, atol=_TOLERANCE * largest):
                raise MeasureError(
                    "the network is not homogeneous in its parameters: scaling all of them does "
                    "more than scale its logits",
                    "use a piecewise linear network without biases and normalization layers",
                )
        return degree

    return context.shared("degree_of_homogeneity", compute)


def homogeneous_norm(context: MeasureContext) -> float:
    """Return ‖θ‖₂^D, with D the degree of homogeneity, for the normalized margin γ / ‖θ‖^D.

    Late in training, gradient descent on exponentially tailed losses increases the smallest such
    margin (Lyu and Li, arXiv:1906.05890, equation 2).

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
