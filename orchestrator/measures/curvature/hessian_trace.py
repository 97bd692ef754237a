"""The trace of the Hessian: exact where that is provably right, estimated elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
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
    linear in each parameter, which ReLU networks without group normalization are; see
    ``exact_trace``. Others, such as networks with tanh or GELU, get the exact trace of the
    Gauss-Newton matrix and Hutchinson's estimate of the rest (variant ``control_variate``),
    whose variance after training is a small part of that of the whole. Where there is no
    gradient of a single example, or more classes than probes, it is Hutchinson's estimate of
    the whole (variant ``hutchinson``). Both come with their standard error, from the same
    probes at every checkpoint. ``hutch++`` spends exactly ``probes`` products; it pays only
    where these are several times the effective rank.

    With more than 257 classes, and more than there are probes, a proven network gets an estimate
    from random factors of the loss's Hessian in the logits (variant ``sampled_factors``; see
    ``factor_draws``): 16 draws are mostly precise to a percent.

    ``per_layer`` adds the trace of each parameter's diagonal block, which sum to the whole:
    its variant is the parameter's name. It is the same work.

    Not invariant under rescaling of layers (Dinh et al., arXiv:1703.04933), nor under scaling
    of logits; under cross-entropy it falls with the loss itself. Lower is flatter. Cost: exact 2 to
    10 gradients for 10 classes, growing with their number; otherwise about 2 a probe, 5 with the
    control variate.

    Raises:
        MeasureError: If too few probes for a standard error are allowed, or ``hutch++`` is
            asked for the layers.
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
            "Meyer et al., arXiv:2010.09649 (hutch++)",
            cost="exact: 2 to 10 G for 10 classes, growing with their number; "
            "sampled_factors: 1 to 2 G per draw; "
            "hutchinson: about 2 G per probe; control_variate: both, and 3 G more per probe",
        ),
    )

    version = 4

    def __init__(self, options: HessianTraceOptions) -> None:
        fewest = FEWEST_PRODUCTS if options.method == "hutch++" else 2
        if options.probes < fewest:
            raise MeasureError(
                f"hessian_trace: {options.probes} probes have no standard error, expected at "
                f"least {fewest} probes"
            )
        if options.method == "hutch++" and options.per_layer:
            raise MeasureError(
                "hessian_trace: hutch++ has no traces of single layers",
                "use method: auto, hutchinson or control_variate",
            )
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the trace, then that of each parameter's block if asked for.

        Raises:
            MeasureError: If ``exact`` is asked of a network that isn't proven, or
                ``control_variate`` of one without gradients of single examples.
        """
        method = self._method(context)
        if method == "exact":
            exact = exact_trace(context)
            found: dict[str, float | TraceEstimate] = {"": exact.total, **exact.per_parameter}
        elif method == "hutch++":
            found = {"": hutch_plus_plus_trace(context, products=self.options.probes)}
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
        except MeasureError:  # there are no gradients of single examples
            return "hutchinson"
        return "control_variate"


def _value(trace: float | TraceEstimate, variant: str) -> Value:
    value, error = (
        (trace.value, trace.standard_error) if isinstance(trace, TraceEstimate) else (trace, None)
    )
    reason = None if isfinite(value) else "the loss has no finite curvature at these weights"
    return Value("hessian_trace", value, error, variant, reason=reason)
