"""Numerical verification of the result that ``piecewise_linear`` proves from a network's graph.

For a network that is piecewise affine in each parameter tensor θ_i, H and the Gauss-Newton matrix
G have the same diagonal blocks for every loss: vᵀ(H − G)v = Σ_k (∂ℓ/∂z_k) vᵀ∇²z_k v vanishes for
each v that is nonzero in one tensor only. The test uses the stronger form vᵀ ∇²⟨w, z⟩ v = 0, with
random weights w in place of ∂ℓ/∂z, which vanishes with the loss. It covers everything the network
computes on real examples, including operations that ``torch.fx`` cannot trace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.layer_taps import mixing_layers
from orchestrator.measures.curvature.piecewise_linear import prove_piecewise_linear
from orchestrator.measures.derivatives import gradients, require_second_derivatives
from orchestrator.measures.example_axis import probe_examples

_EXAMPLES = 16


def verify_exactness(context: MeasureContext) -> str | None:
    """Return why tr H is not known to equal tr G for the network of ``context``, or None.

    Cost: one forward pass of at most ``examples_per_pass`` examples in addition to the shared
    logits, and one second derivative on 16 examples per parameter tensor.

    Args:
        context: The network and the training examples used for verification.
    """

    def compute() -> str | None:
        inputs, _ = next(context.data.batches("train"))
        logits = context.logits("train")[: len(inputs)]
        proof = prove_piecewise_linear(context.model, inputs, logits)
        if not proof.proven:
            return proof.reason
        try:
            mixing_layers(context)
            return _curved_parameter(context)
        except MeasureError as error:
            return error.message

    return context.shared("verified_exactness", compute)


def _curved_parameter(context: MeasureContext) -> str | None:
    """Name the first parameter tensor in which the logits are not affine, if any."""
    x, _ = probe_examples(context, min(_EXAMPLES, context.data.n_examples("train")))
    parameters = list(context.parameters.values())
    generator = context.generator("exactness")
    with torch.enable_grad():
        logits = context.forward(x)
        weights = _random(logits, generator)
        scalar = (weights * logits).sum()
        slopes = gradients([scalar], None, parameters, create_graph=True)
        require_second_derivatives(slopes)
        for (name, parameter), slope in zip(context.parameters.items(), slopes, strict=True):
            # Same size as the parameter, so that first and second order are comparable.
            size = torch.linalg.vector_norm(parameter.detach()) / parameter.numel() ** 0.5
            direction = _random(parameter, generator) * torch.where(size > 0, size, 1.0)
            terms = slope * direction
            if not terms.requires_grad:
                continue
            (second,) = gradients([terms.sum()], None, [parameter], retain_graph=True)
            rounding = 1e4 * torch.finfo(context.dtype).eps * terms.abs().sum()
            if (second * direction).sum().abs() > rounding:
                return f"the logits are not affine in the parameter {name!r} alone"
    return None


def _random(like: Tensor, generator: torch.Generator) -> Tensor:
    values = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return values.to(device=like.device, dtype=like.dtype)
