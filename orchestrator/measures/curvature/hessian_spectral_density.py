"""The density of the Hessian's eigenvalues, their moments and the effective rank."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot, inf, isfinite, nan
from statistics import fmean
from sys import float_info

import torch
from torch import Tensor

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Curve, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_krylov import iterates_in_single
from orchestrator.measures.curvature.hutchinson import standard_error
from orchestrator.measures.curvature.lanczos_quadrature import (
    Quadrature,
    error_over_starts,
    lanczos_quadrature,
    smoothed_density,
)
from orchestrator.measures.scaling import unit_of
from orchestrator.measures.symmetric_operator import SymmetricOperator
from orchestrator.measures.trust.finding import SECOND_DERIVATIVES
from orchestrator.study.measure_options.curvature import HessianSpectralDensityOptions

DENSITY = "hessian_spectral_density"
EFFECTIVE_RANK = "hessian_effective_rank"
AT_ONCE = 8
"""Probes that advance together."""
_SMALL = 0.1  # An error of this many standard errors widens intervals by half a percent.


def spectral_quadratures(
    context: MeasureContext, *, probes: int = 16, iterations: int = 32
) -> list[Quadrature]:
    """Return one quadrature of the spectrum of ∇²L per probe, for the first ``probes`` probes.

    Those of large networks come from products in float32. One product in float64 must confirm that
    this changes the first two moments of a probe by far less than the standard error of their mean.

    Raises:
        FloatingPointError: If a Hessian-vector product is not finite.
    """

    def compute() -> list[Quadrature]:
        if iterates_in_single(context):
            try:
                single = context.hessian_in(torch.float32)
                found = _quadratures(context, single, probes, iterations)
                if _is_confirmed(context, found):
                    return found
            except (FloatingPointError, MeasureError):
                pass  # Outside the range of float32, or a network that does not run in it.
        return _quadratures(context, context.hessian, probes, iterations)

    return context.shared(("lanczos_quadratures", probes, iterations), compute)


def _quadratures(
    context: MeasureContext, A: SymmetricOperator, probes: int, iterations: int
) -> list[Quadrature]:
    found: list[Quadrature] = []
    for first in range(0, probes, AT_ONCE):
        indices = range(first, min(first + AT_ONCE, probes))
        starts = torch.stack([context.probe(i).to(A.dtype) for i in indices])
        found += lanczos_quadrature(A, starts.T, iterations)
    return found


def _is_confirmed(context: MeasureContext, found: list[Quadrature]) -> bool:
    """Return whether the first probe's moments in float64 are the same, up to a small error."""
    vector = context.probe(0)
    product = context.hessian @ vector
    unit = unit_of(found[0].nodes.tolist())
    for order, precise in enumerate((vector @ product / unit, (product / unit).square().sum()), 1):
        moments, squares = _moments(found, order, unit)
        error = error_over_starts(moments, squares, found[0].dimension)
        if not abs(precise.item() / len(vector) - moments[0]) <= _SMALL * error:
            return False
    return True


class HessianSpectralDensity(Measure, options=HessianSpectralDensityOptions):
    """The density of the eigenvalues of ∇²L by stochastic Lanczos quadrature.

    - the curve ``hessian_spectral_density``: fraction of eigenvalues per unit of eigenvalue, with
      standard errors over probes. Each eigenvalue is smoothed by a Gaussian whose standard
      deviation is ``width`` of the range; eigenvalues closer than a few widths are not resolved.
    - ``hessian_spectral_moment_k`` = 1/P Σ_i λ_i^k = tr(H^k) / P: the mean eigenvalue, the mean
      square and so on, unbiased, with standard errors over probes. The first moment equals the
      ``hessian_trace`` from the same probes, over P.
    - ``hessian_effective_rank`` = (Σ λ_i)² / Σ λ_i², R_0 of Bartlett et al.: P if all are
      equal, 1 if one dominates. Its standard error uses the delta method, to second order in the
      mean, and thus stays correct if positive and negative eigenvalues cancel.

    P counts every trainable parameter; those that the logits do not depend on have eigenvalue
    zero. The standard errors of moments come from the moments of twice their order, and similarly
    for the density, because the spread over 16 probes is too small if very few eigenvalues
    dominate.

    Invariances: none under rescaling of layers or scaling of logits, but the effective rank
    does not change with the scale of the loss. Lower moments are flatter. With 10,000
    parameters or more, float64 values come from float32 products where a float64 product confirms
    that their error is far below the standard error. Cost: probes · iterations Hessian-vector
    products, 8 probes at once.

    Raises:
        MeasureError: If only one probe is allowed, iterations are too few for the moments, or
            the grid is too coarse for the width.
    """

    needs = frozenset({"gradient_graph"})
    requires = SECOND_DERIVATIVES
    version = 5

    curves = "always"

    def __init__(self, options: HessianSpectralDensityOptions) -> None:
        _check(options)
        self.options = options
        self.entries = (
            _entry(DENSITY, "p(λ) of ∇²L", "weight² / loss", "neutral"),
            *(
                _entry(moment_name(k), f"tr((∇²L)^{k}) / P", _unit(k), "lower")
                for k in range(1, options.moments + 1)
            ),
            CatalogEntry(
                measure=EFFECTIVE_RANK,
                family="flatness",
                symbol="(tr ∇²L)² / tr (∇²L)²",
                unit="1",
                direction="neutral",
                citation="Bartlett, Long, Lugosi, Tsigler, arXiv:1906.11300",
                cost="shared with the spectral density",
            ),
        )

    def compute(self, context: MeasureContext) -> Iterator[Value | Curve]:
        """Yield the moments, the effective rank and the density."""
        options = self.options
        orders = range(1, options.moments + 1)
        try:
            quadratures = spectral_quadratures(
                context, probes=options.probes, iterations=options.iterations
            )
        except FloatingPointError as error:
            for name in (*map(moment_name, orders), EFFECTIVE_RANK):
                yield Value(name, nan, reason=error_text(error))
            yield Curve(DENSITY, [nan], [nan], reason=error_text(error))
            return
        unit = unit_of(node for q in quadratures for node in q.nodes.tolist())
        for order in orders:
            yield _moment(quadratures, order, unit)
        yield _effective_rank(quadratures, unit)
        yield self._density(quadratures)

    def _density(self, quadratures: list[Quadrature]) -> Curve:
        found = smoothed_density(
            quadratures, points=self.options.grid_points, relative_width=self.options.width
        )
        if found is None:
            point = quadratures[0].nodes[0].item()
            reason = f"all eigenvalues are {point:.6g}: a single point has no density"
            return Curve(DENSITY, [point], [nan], reason=reason)
        return Curve(
            DENSITY,
            found.grid.tolist(),
            found.values.tolist(),
            standard_errors=found.standard_errors.tolist(),
        )


def _moments(quadratures: list[Quadrature], order: int, unit: float) -> tuple[Tensor, Tensor]:
    """Return each quadrature's moment and that of twice the order, in units of ``unit``."""
    first, second = (
        torch.tensor([q.moment(power, unit) for q in quadratures], dtype=torch.float64)
        for power in (order, 2 * order)
    )
    return first, second


def _moment(quadratures: list[Quadrature], order: int, unit: float) -> Value:
    """Return the mean of λ^order, computed in units of ``unit``."""
    samples, squares = _moments(quadratures, order, unit)
    mean = samples.mean().item()
    error = error_over_starts(samples, squares, quadratures[0].dimension).item()
    try:
        scale = unit**order
    except OverflowError:
        scale = inf
    value = mean * scale
    if isfinite(value) and (abs(value) >= float_info.min or mean == 0):
        return Value(moment_name(order), value, error * scale)
    reason = f"{mean:.4g} · ({unit:.4g})^{order} is outside the range of float64"
    return Value(moment_name(order), nan, reason=reason)


def _effective_rank(quadratures: list[Quadrature], unit: float) -> Value:
    n_parameters = quadratures[0].dimension
    first = [quadrature.moment(1, unit) for quadrature in quadratures]
    second = [quadrature.moment(2, unit) for quadrature in quadratures]
    mean, square = fmean(first), fmean(second)
    if square == 0:
        return Value(EFFECTIVE_RANK, nan, reason="all eigenvalues are zero")
    value = n_parameters * mean**2 / square
    # First-order change of the value with each probe's pair of moments.
    slopes = 2 * n_parameters * mean / square, -value / square
    changes = [slopes[0] * a + slopes[1] * b for a, b in zip(first, second, strict=True)]
    # Near zero, the squared mean is not linear in the mean within its error.
    curved = 2**0.5 * n_parameters * standard_error(first) ** 2 / square
    return Value(EFFECTIVE_RANK, value, hypot(standard_error(changes), curved))


def moment_name(order: int) -> str:
    """Return the name of the measure for the mean of λ^order."""
    return f"hessian_spectral_moment_{order}"


def _check(options: HessianSpectralDensityOptions) -> None:
    name = options.name
    if options.probes < 2:
        raise MeasureError(f"{name}: one probe has no standard error, expected at least 2 probes")
    if options.moments >= options.iterations:  # Errors need moments of twice the order.
        raise MeasureError(
            f"{name}: {options.iterations} iterations give moments with standard errors up to "
            f"order {options.iterations - 1}, got moments: {options.moments}",
            "increase iterations; the default is 32",
        )
    spacing = (1 + 10 * options.width) / (options.grid_points - 1)
    if spacing > options.width:
        raise MeasureError(
            f"{name}: {options.grid_points} points have a spacing of {spacing:.3g} of the range, "
            f"too coarse for Gaussians of width {options.width:.3g}",
            f"set grid_points to at least {int(11 + 1 / options.width) + 2}",
        )


def _unit(order: int) -> str:
    return "loss / weight²" if order == 1 else f"(loss / weight²)^{order}"


def _entry(measure: str, symbol: str, unit: str, direction: Direction) -> CatalogEntry:
    return CatalogEntry(
        measure=measure,
        family="flatness",
        symbol=symbol,
        unit=unit,
        direction=direction,
        citation="Ghorbani, Krishnan, Xiao, arXiv:1901.10159; Papyan, arXiv:1811.07062",
        cost="probes · iterations Hessian-vector products of about 2 G, shared",
    )
