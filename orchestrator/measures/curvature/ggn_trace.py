"""The trace of the Gauss-Newton matrix, exact for every network or from random factors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import isfinite

from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import ExactTrace, exact_trace, proof
from orchestrator.measures.curvature.example_gradients import squared_gradient_norms
from orchestrator.measures.curvature.factor_draws import drawn_ggn, drawn_trace, loss_draw
from orchestrator.measures.curvature.hutchinson import TraceEstimate
from orchestrator.measures.curvature.loss_hessian import MOST_SQUARES, loss_hessian
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.curvature import GgnTraceOptions


def exact_ggn_trace(context: MeasureContext) -> ExactTrace:
    """Return the exact trace 1/n Σ_i tr(J_iᵀ A_i J_i) of G, for every network.

    J_i is the Jacobian of example i's logits and A_i = ∂²ℓ_i/∂z² = Σ_r s_r v_r v_rᵀ, so the trace
    is 1/n Σ_i Σ_r s_r ‖∇_θ ⟨v_r, z_i⟩‖². It needs no proof; only tr H = tr G does. If that is
    proven, both traces share one computation.

    Raises:
        MeasureError: If logits of one example depend on others.
    """

    def compute() -> ExactTrace:
        if proof(context).proven:
            return exact_trace(context)
        columns = partial(loss_hessian, context.loss)
        return ExactTrace.of(squared_gradient_norms(context, columns))

    return context.shared("exact_ggn_trace", compute)


def sampled_ggn_trace(context: MeasureContext, samples: int) -> TraceEstimate:
    """Estimate tr G from random factors of the Hessian of each example's loss in its logits.

    The estimate is unbiased. For cross-entropy, one draw of one example has a relative spread of
    about 0.7 at every confidence of the network (``factor_draws``). A draw takes one gradient for
    cross-entropy and two for other losses.

    Args:
        context: The network and its data.
        samples: Number of draws per example, at least 2.

    Raises:
        MeasureError: As ``exact_ggn_trace``.
    """
    return drawn_trace(context, loss_draw(context.loss), draws=samples).total


class GgnTrace(Measure, options=GgnTraceOptions):
    """tr G, the trace of the Gauss-Newton matrix of the training loss.

    G is the Hessian without the curvature of the logits themselves (Schraudolph 2002,
    10.1162/08997660260028683). For cross-entropy it is the Fisher information, whose trace
    ``fisher`` also gives; for other losses the two differ. tr G = tr ∇²L for networks that are
    proven piecewise linear (``exact_trace``); otherwise the difference vanishes with the training
    loss.

    The variant ``exact`` costs classes − 1 gradients. If ``label_samples`` is set and below
    classes − 1, or unset with more than 257 classes, the trace is estimated from random factors
    (``factor_draws``): ``label_samples`` per example, or 16 to 256 by default. This is the
    variant ``sampled_factors``, with a standard error. The option is named after labels, which
    earlier versions drew instead of factors.

    Invariances: none under rescaling of layers or scaling of logits. Lower is flatter. Cost: the
    gradients above; none if ``hessian_trace`` is exact.
    """

    version = 2
    entries = (
        CatalogEntry(
            measure="ggn_trace",
            family="flatness",
            symbol="tr 1/n Σ_i J_iᵀ (∂²ℓ_i/∂z²) J_i",
            unit="loss / weight²",
            direction="lower",
            citation="Martens, arXiv:1412.1193, section 8",
            cost="classes − 1 G, shared with an exact hessian_trace; or 1 to 2 G per draw",
        ),
    )

    requires = PARAMETER_GRADIENTS

    def __init__(self, options: GgnTraceOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the trace.

        Raises:
            MeasureError: As ``exact_ggn_trace`` and ``sampled_ggn_trace``.
        """
        samples = self.options.label_samples
        if (samples or MOST_SQUARES) >= context.classes - 1:
            found = Value("ggn_trace", exact_ggn_trace(context).total, variant="exact")
        else:
            drawn = sampled_ggn_trace(context, samples) if samples else drawn_ggn(context).total
            found = Value("ggn_trace", drawn.value, drawn.standard_error, "sampled_factors")
        reason = "the loss has no finite curvature at these weights"
        yield found if isfinite(found.value) else replace(found, reason=reason)
