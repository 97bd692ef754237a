"""The Fisher-Rao norm θᵀFθ."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import torch
from torch import Tensor

from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.gauss_newton import logit_derivative
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.curvature import FisherRaoNormOptions


def radial_derivative(context: MeasureContext, inputs: Tensor) -> Tensor:
    """Return J θ = d/ds z((1 + s) θ) at s = 0, the derivative under joint parameter scaling.

    A bias-free network of L layers with piecewise linear activations is homogeneous of degree
    L in its parameters, so the result is L · z (Euler).

    Args:
        context: The network.
        inputs: Shape ``(n, *input_shape)``, in the context's dtype.

    Returns:
        Shape ``(n, classes)``, detached.
    """
    with torch.enable_grad():
        logits = context.forward(inputs)
    return logit_derivative(context, logits, context.unflatten(context.parameter_vector()))


class FisherRaoNorm(Measure, options=FisherRaoNormOptions):
    """θᵀFθ over all trainable parameters; the value itself, not its square root.

    F is the Fisher information of the network's own softmax on the training examples, for any
    training loss. In logit space it is diag(p) − ppᵀ, so

        θᵀFθ = 1/n Σ_i Var_{c ~ p_i}(u_ic),   u_i = J_i θ,

    exactly and for every network. For bias-free piecewise linear networks of L layers u_i is
    L · z_i, which gives the closed form of Liang et al. (L is one more than their number of
    hidden layers).

    Invariances: unchanged under any rescaling of layers, even per node and including biases, that
    preserves the function. It changes with the scale of logits, and vanishes as they grow while
    the predicted classes stay the same. Lower is less complex. Cost: one pass.
    """

    version = 2
    requires = PARAMETER_GRADIENTS
    entries = (
        CatalogEntry(
            measure="fisher_rao_norm",
            family="norm",
            symbol="θᵀFθ",
            unit="1",
            direction="lower",
            citation="Liang et al., arXiv:1711.01530",
            cost="about 2 G",
            invariances="layer rescaling",
        ),
    )

    def __init__(self, options: FisherRaoNormOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the norm."""
        total = 0.0
        logits = context.data.in_passes(context.logits("train"))
        for (x, _), (z,) in zip(context.data.batches("train"), logits, strict=True):
            total += _variances(radial_derivative(context, x), z).sum().item()
        value = total / context.data.n_examples("train")
        reason = None if isfinite(value) else "logits or their derivative are not finite"
        yield Value("fisher_rao_norm", value, reason=reason)


def _variances(values: Tensor, logits: Tensor) -> Tensor:
    """Return the float64 variance of each row of ``values`` under the softmax of ``logits``.

    Values are shifted by that of the most probable class, so that nothing cancels if the other
    probabilities are far below rounding.
    """
    p = logits.to(torch.float64).softmax(1)
    u = values.to(torch.float64)
    u = u - u.gather(1, p.argmax(1, keepdim=True))
    means = (p * u).sum(1, keepdim=True)
    return (p * (u - means).square()).sum(1)
