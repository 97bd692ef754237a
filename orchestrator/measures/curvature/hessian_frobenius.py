"""The Frobenius norm of the Hessian, estimated."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, sqrt

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_probes import probe_moments
from orchestrator.measures.curvature.hutchinson import probe_mean
from orchestrator.measures.scaling import unit_of
from orchestrator.measures.trust.finding import SECOND_DERIVATIVES
from orchestrator.study.measure_options.curvature import HessianFrobeniusNormOptions


class HessianFrobeniusNorm(Measure, options=HessianFrobeniusNormOptions):
    """‖∇²L‖_F = √ Σ_k λ_k² of the mean training loss.

    For a probe v of independent entries ±1, E ‖Hv‖² = tr H² = ‖H‖_F². This is Hutchinson's
    estimate for H², from one product with H per probe. The value is the root of the mean m. Its
    standard error is that of m over 2√m (delta method). Its bias, −(standard error)² /
    (2 ‖H‖_F) to first order, is far below the standard error at the requested precision. The
    probes, and their products with H, are shared with ``hessian_trace``.

    Not invariant under rescaling of layers, nor under scaling of logits. Lower is flatter. Cost:
    about 2 gradients per probe, shared with an estimated ``hessian_trace``.

    Raises:
        MeasureError: If a single probe is allowed.
    """

    needs = frozenset({"gradient_graph"})
    requires = SECOND_DERIVATIVES
    version = 3
    entries = (
        CatalogEntry(
            measure="hessian_frobenius_norm",
            family="flatness",
            symbol="‖∇²L(θ)‖_F",
            unit="loss / weight²",
            direction="lower",
            citation="Wu, Wang, Su, arXiv:2207.02628; Hutchinson 1990",
            cost="about 2 G per probe, shared with an estimated hessian_trace",
        ),
    )

    def __init__(self, options: HessianFrobeniusNormOptions) -> None:
        if options.probes < 2:
            raise MeasureError(
                "hessian_frobenius_norm: one probe has no standard error, "
                "expected at least 2 probes"
            )
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the norm."""
        unit = unit_of([probe_moments(context, 0).length])
        square = probe_mean(
            lambda index: (probe_moments(context, index).length / unit) ** 2,
            probes=self.options.probes,
            # The root's relative error is half of its square's.
            relative_error=2 * self.options.relative_error,
        )
        root = sqrt(square.value)
        error = square.standard_error / (2 * root) if root != 0 else 0.0
        value = unit * root
        reason = None if isfinite(value) else "the loss has no finite curvature at these weights"
        yield Value("hessian_frobenius_norm", value, unit * error, reason=reason)
