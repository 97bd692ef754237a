"""The trace of the Hessian: exact where that is provably right, estimated elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import exact_trace, proof
from orchestrator.measures.curvature.hessian_probes import probe_moments
from orchestrator.measures.curvature.hutchinson import TraceEstimate, probe_mean
from orchestrator.study.measure_options.curvature import HessianTraceOptions


class HessianTrace(Measure):
    """tr ∇²L of the mean training loss.

    ``auto`` computes it exactly (variant ``exact``) for networks that are proven piecewise
    linear in each parameter, which ReLU networks without group normalization are; see
    ``exact_trace``. Others, such as networks with tanh or GELU, get Hutchinson's estimate
    (variant ``hutchinson``) with its standard error, from the same probes at every checkpoint.

    Not invariant under rescaling of layers (Dinh et al., arXiv:1703.04933), nor under scaling
    of logits; under cross-entropy it falls with the loss itself. Lower is flatter.

    Raises:
        MeasureError: If a single probe is allowed.
    """

    needs = frozenset({"gradient_graph"})
    entries = (
        CatalogEntry(
            measure="hessian_trace",
            family="flatness",
            symbol="tr ∇²L(θ)",
            unit="loss / weight²",
            direction="lower",
            citation="Hutchinson 1990; Botev, Ritter, Barber, arXiv:1706.03662 (exact)",
            cost="exact: 2 to 10 G for 10 classes, growing with their number; "
            "hutchinson: about 2 G per probe",
        ),
    )

    def __init__(self, options: HessianTraceOptions) -> None:
        if options.probes < 2:
            raise MeasureError(
                "hessian_trace: one probe has no standard error, expected at least 2 probes"
            )
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the one value.

        Raises:
            MeasureError: If ``exact`` is asked of a network that isn't proven.
        """
        method = self.options.method
        if method == "exact" or (method == "auto" and proof(context).proven):
            value, error, variant = exact_trace(context).total, None, "exact"
        else:
            estimate = estimated_trace(context, self.options)
            value, error, variant = estimate.value, estimate.standard_error, "hutchinson"
        reason = None if isfinite(value) else "the loss has no finite curvature at these weights"
        yield Value("hessian_trace", value, error, variant, reason=reason)


def estimated_trace(context: MeasureContext, options: HessianTraceOptions) -> TraceEstimate:
    """Hutchinson's estimate for the Hessian of ``context``, with its common probes."""
    return probe_mean(
        lambda index: probe_moments(context, index).quadratic_form,
        probes=options.probes,
        relative_error=options.relative_error,
    )
