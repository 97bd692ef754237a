"""The largest eigenvalues and the smallest eigenvalue of the Hessian."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import nan

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_krylov import extreme_eigenvalues
from orchestrator.measures.curvature.lanczos import Extremes
from orchestrator.measures.trust.finding import SECOND_DERIVATIVES
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions

SMALLEST = "hessian_eigenvalue_min"
RATIO = "hessian_eigenvalue_ratio"


class HessianSpectrum(Measure, options=HessianSpectrumOptions):
    """λ_1 ≥ … ≥ λ_k, λ_min and λ_1/λ_k of the Hessian of the mean training loss.

    The values come from the Lanczos method. "Largest" is algebraic: at a saddle with
    |λ_min| > λ_1, the power method would give λ_min. With a certainty of 99 % over random starts,
    each value is within ``tolerance`` · |λ| of the eigenvalue of the same rank, repeated ones
    included: never above a largest one, nor below the smallest. A value for which this takes more
    than ``iterations`` has the variant ``unconverged`` and its largest error in the column
    ``error``. It is then a lower bound of a largest eigenvalue, or an upper bound of the smallest.
    No value is more precise than the rounding of the products, about 1e-6 · λ_1 in float32. With
    10,000 parameters or more, float64 values are found in float32 and confirmed in float64. The
    smallest eigenvalue takes longest, as it is often a hundredth of the largest and close to many
    others; ``smallest: false`` leaves it out. Parameters that the logits do not depend on count as
    zero eigenvalues. A network with fewer than k parameters has fewer eigenvalues.

    The ratio shows whether curvature is concentrated in a single direction (Foret et al.,
    arXiv:2010.01412, for k = 5). It is NaN unless λ_k exceeds zero by more than rounding.

    Lanczos for network Hessians: Papyan, arXiv:1811.07062; Ghorbani, Krishnan and Xiao,
    arXiv:1901.10159. Not invariant under rescaling of layers (Dinh et al., arXiv:1703.04933),
    nor under scaling of logits. Lower is flatter. Cost: 20 to 100 Hessian-vector products, most
    of them for λ_min; λ_1 alone takes 10 to 30.

    Raises:
        MeasureError: If fewer iterations are allowed than eigenvalues requested.
    """

    needs = frozenset({"gradient_graph", "krylov_space"})
    requires = SECOND_DERIVATIVES
    version = 6

    def __init__(self, options: HessianSpectrumOptions) -> None:
        if options.iterations < options.top:
            raise MeasureError(
                f"hessian_spectrum: {options.iterations} iterations cannot give the "
                f"{options.top} largest eigenvalues",
                "set several times as many iterations as eigenvalues; the default is 100",
            )
        self.options = options
        self.entries = tuple(
            [_entry(name_of(rank), f"λ_{rank}") for rank in range(1, options.top + 1)]
            + [_entry(SMALLEST, "λ_min")] * options.smallest
            + [_ratio_entry(options.top)] * (options.top > 1)
        )

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the largest eigenvalues in descending order, the smallest, and the ratio."""
        top, smallest = self.options.top, self.options.smallest
        count = min(top, context.n_parameters)
        names = [name_of(rank) for rank in range(1, count + 1)] + [SMALLEST] * smallest
        try:
            found = extreme_eigenvalues(context, self.options)
        except FloatingPointError as error:
            for name in [*names, *[RATIO] * (top > 1)]:
                yield Value(name, nan, reason=error_text(error))
            return
        for name, index in zip(names, [*range(count), *[-1] * smallest], strict=True):
            yield eigenvalue(found, name, index)
        if top > 1:
            yield _ratio(found, top, count)


def eigenvalue(found: Extremes, name: str, index: int) -> Value:
    """Return one of the values found, marked as a bound if it has not converged.

    Args:
        found: The eigenvalues.
        name: Name of the measure.
        index: Place of the value, from 0 for the largest; −1 is the smallest eigenvalue.
    """
    value = found.values[index].item()
    if found.converged[index]:
        return Value(name, value)
    error, limit = found.errors[index].item(), found.limits[index].item()
    side, change = ("upper", "smaller") if index < 0 else ("lower", "larger")
    reason = (
        f"{side} bound: the eigenvalue may be {change} by up to {error:.3g} after "
        f"{found.products} products; expected at most {limit:.3g}"
    )
    return Value(name, value, variant="unconverged", reason=reason)


def _ratio(found: Extremes, top: int, count: int) -> Value:
    if count < top:
        return Value(RATIO, nan, reason=f"the Hessian has fewer than {top} eigenvalues")
    first, last = eigenvalue(found, RATIO, 0), eigenvalue(found, RATIO, top - 1)
    if last.value <= found.rounding:
        return Value(RATIO, nan, reason=f"λ_{top} does not exceed zero by more than rounding")
    worst = first if first.reason else last
    return replace(worst, value=first.value / last.value)


def name_of(rank: int) -> str:
    """Return the measure name of the ``rank``-th largest eigenvalue, counted from 1."""
    return f"hessian_eigenvalue_{rank}"


def _ratio_entry(top: int) -> CatalogEntry:
    return CatalogEntry(
        measure=RATIO,
        family="flatness",
        symbol=f"λ_1 / λ_{top}",
        unit="1",
        direction="lower",
        citation="Foret et al., arXiv:2010.01412",
        cost="none beside the eigenvalues",
    )


def _entry(measure: str, symbol: str) -> CatalogEntry:
    return CatalogEntry(
        measure=measure,
        family="flatness",
        symbol=f"{symbol}(∇²L)",
        unit="loss / weight²",
        direction="neutral" if measure == SMALLEST else "lower",
        citation="Papyan, arXiv:1811.07062; Ghorbani, Krishnan, Xiao, arXiv:1901.10159",
        cost="20 to 100 Hessian-vector products of about 2 G, shared by the whole spectrum",
    )
