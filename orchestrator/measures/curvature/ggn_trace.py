"""The trace of the Gauss-Newton matrix: exact for every network, or from sampled labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import ExactTrace, exact_trace, proof
from orchestrator.measures.curvature.example_gradients import squared_gradient_norms
from orchestrator.measures.curvature.hutchinson import TraceEstimate
from orchestrator.measures.curvature.loss_hessian import (
    LossHessian,
    is_cross_entropy,
    loss_hessian,
)
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.curvature import GgnTraceOptions


def exact_ggn_trace(context: MeasureContext) -> ExactTrace:
    """The trace 1/n Σ_i tr(J_iᵀ A_i J_i) of G, exactly and for every network.

    J_i is the Jacobian of example i's logits and A_i = ∂²ℓ_i/∂z² = Σ_r s_r v_r v_rᵀ, so that it
    is 1/n Σ_i Σ_r s_r ‖∇_θ ⟨v_r, z_i⟩‖². It needs no proof: only tr H = tr G does, and where
    that is proven the two are one computation.

    Raises:
        MeasureError: If logits of one example depend on others, or a parameter needs gradients
            of single examples that ``torch.func`` cannot compute.
    """

    def compute() -> ExactTrace:
        if proof(context).proven:
            return exact_trace(context)
        columns = partial(loss_hessian, context.loss)
        return ExactTrace.of(squared_gradient_norms(context, columns))

    return context.shared("exact_ggn_trace", compute)


@dataclass
class _SampledLabels:
    """One draw of a label for every example, as ``squared_gradient_norms`` asks for them.

    Attributes:
        uniform: Where in the distribution over classes each example's label lies, in order.
        position: How many examples have had theirs.
    """

    uniform: Tensor
    position: int = 0

    def __call__(self, logits: Tensor, labels: Tensor) -> LossHessian:
        """∇_z log p_c = e_c − p of the drawn class c, as the one column of each example."""
        del labels
        uniform = self.uniform[self.position : self.position + len(logits), None].to(logits.device)
        self.position += len(logits)
        p = logits.to(torch.float64).softmax(1)
        drawn = (p.cumsum(1) < uniform).sum(1).clamp_max(logits.shape[1] - 1)
        chosen = torch.nn.functional.one_hot(drawn, logits.shape[1])
        return LossHessian((chosen - p).to(logits.dtype)[None], None)


def sampled_ggn_trace(context: MeasureContext, samples: int) -> TraceEstimate:
    """Estimate tr G of cross-entropy from labels drawn from the network's own softmax.

    Unbiased, as G = E_x E_{c~p} ∇log p_c ∇log p_cᵀ is the Fisher information: the mean squared
    gradient norm over drawn labels takes ``samples`` gradients in place of classes − 1. The
    standard error is that of drawing labels for these very examples, from the spread within
    each of them. Where softmax is nearly certain, almost all labels tell nothing and a rare one
    tells all: estimate and error are then unreliable, and the exact trace is not.

    Args:
        context: The network and its data.
        samples: Labels for each example, at least 2.

    Raises:
        MeasureError: If the loss isn't cross-entropy, and as ``exact_ggn_trace``.
    """
    if not is_cross_entropy(context.loss):
        raise MeasureError(
            "labels can be sampled for cross-entropy only, as other losses have no softmax to "
            "draw them from",
            "leave out label_samples",
        )
    n = context.n_examples("train")
    draws = []
    for index in range(samples):
        generator = context.generator("sampled_labels", index)
        labels = _SampledLabels(torch.rand(n, generator=generator, dtype=torch.float64))
        by_name = squared_gradient_norms(context, labels)
        draws.append(torch.stack(list(by_name.values())).sum(0))
    each = torch.stack(draws)
    error = (each.var(0) / samples).sum().sqrt() / n
    return TraceEstimate(each.mean().item(), error.item(), samples)


class GgnTrace(Measure):
    """tr G, the trace of the Gauss-Newton matrix of the training loss.

    G is the Hessian without the curvature of the logits themselves (Schraudolph 2002,
    10.1162/08997660260028683). For cross-entropy it is the Fisher information, whose trace
    ``fisher`` gives too; for other losses the two differ. tr G = tr ∇²L for networks that are
    proven piecewise linear (``exact_trace``); elsewhere the difference fades as the training
    loss does.

    The variant ``exact`` costs classes − 1 gradients. With ``label_samples`` there are as many
    gradients as labels are drawn for each example, if that is fewer: the variant
    ``sampled_labels``, with its standard error.

    Invariances: none under rescaling of layers or scaling of logits. Lower is flatter. Cost: that
    many gradients; none where ``hessian_trace`` is exact.

    Raises:
        MeasureError: If a single label is to be drawn.
    """

    entries = (
        CatalogEntry(
            measure="ggn_trace",
            family="flatness",
            symbol="tr 1/n Σ_i J_iᵀ (∂²ℓ_i/∂z²) J_i",
            unit="loss / weight²",
            direction="lower",
            citation="Martens, arXiv:1412.1193, section 8",
            cost="classes − 1 G, shared with an exact hessian_trace; or 1 G per sampled label",
        ),
    )

    requires = PARAMETER_GRADIENTS

    def __init__(self, options: GgnTraceOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the one value.

        Raises:
            MeasureError: As ``exact_ggn_trace`` and ``sampled_ggn_trace``.
        """
        samples = self.options.label_samples
        if samples is None or samples >= context.classes - 1:
            value, error, variant = exact_ggn_trace(context).total, None, "exact"
        else:
            estimate = sampled_ggn_trace(context, samples)
            value, error, variant = estimate.value, estimate.standard_error, "sampled_labels"
        reason = None if isfinite(value) else "the loss has no finite curvature at these weights"
        yield Value("ggn_trace", value, error, variant, reason=reason)
