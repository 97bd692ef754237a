"""Estimates of the Hessian trace and its contribution from each parameter, by shared probes."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.factor_draws import (
    RELATIVE_ERROR,
    drawn_ggn,
    drawn_trace,
    loss_draw,
)
from orchestrator.measures.curvature.gauss_newton import gauss_newton
from orchestrator.measures.curvature.ggn_trace import exact_ggn_trace
from orchestrator.measures.curvature.hessian_probes import block_forms, probe_moments
from orchestrator.measures.curvature.hutch_plus_plus import hutch_plus_plus
from orchestrator.measures.curvature.hutchinson import (
    EstimatedTrace,
    TraceEstimate,
    probe_means,
)
from orchestrator.measures.curvature.loss_hessian import MOST_SQUARES


def hutchinson_trace(
    context: MeasureContext, *, probes: int = 256, relative_error: float = 0.05
) -> EstimatedTrace:
    """Return Hutchinson's estimate: the mean of vᵀHv, and of v_lᵀ(Hv)_l for each block.

    The block means are unbiased for tr H_ll, because entries of v in different blocks are
    independent. Their variance includes contributions from the off-diagonal blocks of the same
    row. The stopping rule uses the precision of the total.

    Args:
        context: The network and its data, which also provides the probes.
        probes: Maximum number of probes, at least 2.
        relative_error: Stop when the standard error is at most this times the total.
    """
    return _estimate(
        context, lambda index: list(probe_moments(context, index).blocks), probes, relative_error
    )


def controlled_trace(
    context: MeasureContext, *, probes: int = 256, relative_error: float = 0.05
) -> EstimatedTrace:
    """Return the exact trace of G plus Hutchinson's estimate for the remainder R = H − G.

    G is the Gauss-Newton matrix, R = 1/n Σ_i Σ_k (∂ℓ_i/∂z_k) ∇²z_k. The mean over probes of
    tr G + vᵀHv − vᵀGv is unbiased, and its variance is that of R alone. As ∂ℓ/∂z vanishes with
    the training loss, this is a few percent of the variance of H or less after training, and
    about the same before training. Cost: the exact trace of G, and about 5 gradients per probe.

    Args:
        context: The network and its data, which also provides the probes.
        probes: Maximum number of probes, at least 2.
        relative_error: Stop when the standard error is at most this times the total.

    Raises:
        MeasureError: As ``exact_ggn_trace``.
    """
    exact = list(exact_ggn_trace(context).per_parameter.values())
    G = gauss_newton(context)

    def sample(index: int) -> list[float]:
        v = context.probe(index)
        of_g = block_forms(context, v, G @ v)
        of_h = probe_moments(context, index).blocks
        return [t + h - g for t, h, g in zip(exact, of_h, of_g, strict=True)]

    return _estimate(context, sample, probes, relative_error)


def factor_trace(
    context: MeasureContext, *, probes: int = 256, relative_error: float = 0.05
) -> EstimatedTrace:
    """Estimate the trace of G, equal to that of H for proven networks, from random factors.

    Args:
        context: Context whose network is proven piecewise linear in each parameter
            (``exact_trace``).
        probes: Maximum number of draws per example, at least 2.
        relative_error: Stop when the standard error is at most this times the total.

    Raises:
        MeasureError: As ``exact_ggn_trace``.
    """
    if (probes, relative_error) == (MOST_SQUARES, RELATIVE_ERROR):
        return drawn_ggn(context)  # Shared with other measures.
    draw = loss_draw(context.loss)
    return drawn_trace(context, draw, draws=probes, relative_error=relative_error)


def hutch_plus_plus_trace(context: MeasureContext, *, products: int = 256) -> TraceEstimate:
    """Return the ``hutch_plus_plus`` estimate for the Hessian of ``context``, with its probes."""
    return hutch_plus_plus(context.hessian, context.probe, products=products)


def _estimate(
    context: MeasureContext,
    sample: Callable[[int], list[float]],
    probes: int,
    relative_error: float,
) -> EstimatedTrace:
    def with_total(index: int) -> list[float]:
        blocks = sample(index)
        return [sum(blocks), *blocks]

    total, *blocks = probe_means(
        with_total, probes=probes, relative_error=relative_error, deciding=1
    )
    return EstimatedTrace(total, dict(zip(context.parameters, blocks, strict=True)))
