"""The trace of the Hessian: exact if provably correct, estimated otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import exact_trace, proof
from orchestrator.measures.curvature.ggn_trace import exact_ggn_trace
from orchestrator.measures.curvature.hutch_plus_plus import FEWEST_PRODUCTS
from orchestrator.measures.curvature.hutchinson import TraceEstimate
from orchestrator.measures.curvature.loss_hessian import MOST_SQUARES
from orchestrator.measures.curvature.trace_estimates import (
    controlled_trace,
    factor_trace,
    hutch_plus_plus_trace,
    hutchinson_trace,
)
from orchestrator.measures.curvature.xtrace import xtrace
from orchestrator.measures.trust.finding import SECOND_DERIVATIVES
from orchestrator.study.measure_options.curvature import HessianTraceOptions

_ESTIMATES = {
    "hutchinson": hutchinson_trace,
    "control_variate": controlled_trace,
    "sampled_factors": factor_trace,
}


class HessianTrace(Measure, options=HessianTraceOptions):
    """tr ∇²L of the mean training loss.

    ``auto`` computes it exactly (variant ``exact``) for networks that are proven piecewise
    linear in each parameter, such as ReLU networks without group normalization; see
    ``exact_trace``. For others, such as networks with tanh or GELU, it adds Hutchinson's estimate
    of the remainder to the exact trace of the Gauss-Newton matrix (variant ``control_variate``).
    After training, the variance of the remainder is a small fraction of that of the full Hessian.
    Without per-example gradients, or with more classes than probes, it uses Hutchinson's estimate
    of the full Hessian (variant ``hutchinson``). Both estimates have a standard error and use
    the same probes at every checkpoint. ``hutch++`` and ``xtrace`` use ``probes`` products and
    keep one or two vectors per product in memory. They are worth their cost only if the products
    are several times the effective rank; ``xtrace`` is then more precise. Its intervals cover the
    trace in 89 to 98 % of simulated cases.

    With more than 257 classes, and more classes than probes, a proven network gets an estimate
    from random factors of the loss's Hessian in the logits (variant ``sampled_factors``; see
    ``factor_draws``). 16 draws are usually precise to one percent.

    ``per_layer`` adds the trace of each parameter's diagonal block, with the parameter's name as
    variant, at no extra cost. The blocks sum to the total.

    Not invariant under rescaling of layers (Dinh et al., arXiv:1703.04933), nor under scaling
    of logits; under cross-entropy it decreases with the loss itself. Lower is flatter. Cost: exact
    2 to 10 gradients for 10 classes, growing with their number; otherwise about 2 gradients per
    probe, 5 with the control variate.

    Raises:
        MeasureError: If the probes are too few for a standard error, or ``hutch++`` or ``xtrace``
            is combined with ``per_layer``.
    """

    needs = frozenset({"gradient_graph"})
    requires = SECOND_DERIVATIVES
    entries = (
        CatalogEntry(
            measure="hessian_trace",
            family="flatness",
            symbol="tr ∇²L(θ)",
            unit="loss / weight²",
            direction="lower",
            citation="Hutchinson 1990; Botev, Ritter, Barber, arXiv:1706.03662 (exact); "
            "Meyer et al., arXiv:2010.09649 (hutch++); "
            "Epperly, Tropp, Webber, arXiv:2301.07825 (xtrace)",
            cost="exact: 2 to 10 G for 10 classes, growing with their number; "
            "sampled_factors: 1 to 2 G per draw; "
            "hutchinson: about 2 G per probe; control_variate: both, and 3 G more per probe",
        ),
    )

    version = 4

    def __init__(self, options: HessianTraceOptions) -> None:
        sketches = options.method in {"hutch++", "xtrace"}
        fewest = FEWEST_PRODUCTS if sketches else 2
        if options.probes < fewest:
            raise MeasureError(
                f"hessian_trace: {options.probes} probes are too few for a standard error, "
                f"expected at least {fewest} probes"
            )
        if sketches and options.per_layer:
            raise MeasureError(
                f"hessian_trace: {options.method} does not support per_layer",
                "use method: auto, hutchinson or control_variate",
            )
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the trace, then that of each parameter's block if requested.

        Raises:
            MeasureError: If ``exact`` is requested for an unproven network, or
                ``control_variate`` for one without per-example gradients.
        """
        method = self._method(context)
        if method == "exact":
            exact = exact_trace(context)
            found: dict[str, float | TraceEstimate] = {"": exact.total, **exact.per_parameter}
        elif method == "hutch++":
            found = {"": hutch_plus_plus_trace(context, products=self.options.probes)}
        elif method == "xtrace":
            probe = partial(context.probe, distribution="gaussian")
            found = {"": xtrace(context.hessian, probe, products=self.options.probes)}
        else:
            traces = _ESTIMATES[method](
                context, probes=self.options.probes, relative_error=self.options.relative_error
            )
            found = {"": traces.total, **traces.per_parameter}
        for name, trace in found.items():
            if not name:
                yield _value(trace, method)
            elif self.options.per_layer:
                yield _value(trace, name)

    def _method(self, context: MeasureContext) -> str:
        if self.options.method != "auto":
            return self.options.method
        if proof(context).proven:
            few = context.classes - 1 <= max(MOST_SQUARES, self.options.probes)
            return "exact" if few else "sampled_factors"
        if context.classes - 1 > self.options.probes:
            return "hutchinson"
        try:
            exact_ggn_trace(context)
        except MeasureError:  # The network has no per-example gradients.
            return "hutchinson"
        return "control_variate"


def _value(trace: float | TraceEstimate, variant: str) -> Value:
    value, error = (
        (trace.value, trace.standard_error) if isinstance(trace, TraceEstimate) else (trace, None)
    )
    reason = None if isfinite(value) else "the loss has no finite curvature at these weights"
    return Value("hessian_trace", value, error, variant, reason=reason)
