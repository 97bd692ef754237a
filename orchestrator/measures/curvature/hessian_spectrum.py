"""The largest eigenvalues and the smallest eigenvalue of the Hessian."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import nan

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_krylov import shared_krylov_space
from orchestrator.measures.curvature.lanczos import LanczosResult, lanczos
from orchestrator.measures.trust.finding import SECOND_DERIVATIVES
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions

SMALLEST = "hessian_eigenvalue_min"
RATIO = "hessian_eigenvalue_ratio"


class HessianSpectrum(Measure, options=HessianSpectrumOptions):
    """λ_1 ≥ … ≥ λ_k, λ_min and λ_1/λ_k of the Hessian of the mean training loss.

    All values come from one Lanczos run, whose start vector is shared with
    ``hessian_spectral_density``. "Largest" is algebraic: at a saddle with |λ_min| > λ_1, the
    power method would give λ_min. An eigenvalue lies within the residual ‖H y − λ y‖ of each
    value. A value whose residual does not fall to ``tolerance`` · |λ| within ``iterations`` has
    the variant ``unconverged`` and its residual in the column ``error``. It is then a lower bound
    of a largest eigenvalue, or an upper bound of the smallest. No value is more precise than the
    rounding of the products, about 1e-6 · λ_1 in float32. The smallest eigenvalue takes longest,
    as it is often a hundredth of the largest and close to many others; ``smallest: false`` leaves
    it out. Parameters that the logits
    do not depend on count as zero eigenvalues. A network with fewer than k parameters has fewer
    eigenvalues.

    The ratio shows whether curvature is concentrated in a single direction (Foret et al.,
    arXiv:2010.01412, for k = 5). It is NaN unless λ_k exceeds zero by more than its residual
    and rounding.

    Lanczos for network Hessians: Papyan, arXiv:1811.07062; Ghorbani, Krishnan and Xiao,
    arXiv:1901.10159. Not invariant under rescaling of layers (Dinh et al., arXiv:1703.04933),
    nor under scaling of logits. Lower is flatter. Cost: 20 to 100 Hessian-vector products, most
    of them for λ_min; λ_1 alone takes 10 to 30.

    Raises:
        MeasureError: If fewer iterations are allowed than eigenvalues requested.
    """

    needs = frozenset({"gradient_graph", "krylov_space"})
    requires = SECOND_DERIVATIVES
    version = 5

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
            run = spectrum_run(context, self.options)
        except FloatingPointError as error:
            for name in [*names, *[RATIO] * (top > 1)]:
                yield Value(name, nan, reason=error_text(error))
            return
        for name, index in zip(names, [*range(count), *[-1] * smallest], strict=True):
            yield eigenvalue(run, name, index)
        if top > 1:
            yield _ratio(run, top)


def eigenvalue(run: LanczosResult, name: str, index: int) -> Value:
    """Return one Ritz value of a run, marked if it has not converged."""
    value = run.values[index].item()
    if run.converged[index]:
        return Value(name, value)
    residual, limit = run.residuals[index].item(), run.limits[index].item()
    reason = f"residual {residual:.3g} above {limit:.3g} after {run.iterations} iterations"
    return Value(name, value, variant="unconverged", reason=reason)


def _ratio(run: LanczosResult, top: int) -> Value:
    if len(run.values) < top:
        return Value(RATIO, nan, reason=f"the Hessian has fewer than {top} eigenvalues")
    first, last = eigenvalue(run, RATIO, 0), eigenvalue(run, RATIO, top - 1)
    if last.value <= max(run.residuals[top - 1].item(), run.rounding):
        return Value(RATIO, nan, reason=f"λ_{top} does not exceed zero by more than its error")
    worst = first if first.reason else last
    return replace(worst, value=first.value / last.value)


def spectrum_run(context: MeasureContext, options: HessianSpectrumOptions) -> LanczosResult:
    """Return the Lanczos run for the Hessian of ``context``, shared between equal options.

    Raises:
        FloatingPointError: If a Hessian-vector product is not finite.
    """
    return context.shared(
        ("lanczos", options.top, options.iterations, options.tolerance, options.smallest),
        lambda: lanczos(
            shared_krylov_space(context),
            top=min(options.top, context.n_parameters),
            smallest=options.smallest,
            iterations=options.iterations,
            tolerance=options.tolerance,
        ),
    )


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
