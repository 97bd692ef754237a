"""The largest and the smallest eigenvalues of the Hessian."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.lanczos import LanczosResult, lanczos
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions

SMALLEST = "hessian_eigenvalue_min"


class HessianSpectrum(Measure):
    """λ_1 ≥ … ≥ λ_k and λ_min of the Hessian of the mean training loss, by one Lanczos run.

    "Largest" is algebraic: at a saddle, where |λ_min| > λ_1, the power method would give
    λ_min. A value whose residual ‖H y − λ y‖ did not fall to ``tolerance`` · max |λ| within
    ``iterations`` has the variant ``unconverged`` and the residual in the column ``error``; of
    the largest it is a lower bound. Parameters that take no part in the logits count as zero
    eigenvalues. A network with fewer than k parameters has fewer values.

    Lanczos for network Hessians: Papyan, arXiv:1811.07062; Ghorbani, Krishnan and Xiao,
    arXiv:1901.10159. Not invariant under rescaling of layers (Dinh et al., arXiv:1703.04933),
    nor under scaling of logits. Lower is flatter. Cost: 20 to 100 Hessian-vector products.

    Raises:
        MeasureError: If fewer iterations are allowed than eigenvalues asked for.
    """

    needs = frozenset({"gradient_graph"})

    def __init__(self, options: HessianSpectrumOptions) -> None:
        if options.iterations < options.top:
            raise MeasureError(
                f"hessian_spectrum: {options.iterations} iterations cannot give the "
                f"{options.top} largest eigenvalues",
                "allow several times as many iterations as eigenvalues; the default is 100",
            )
        self.options = options
        self.entries = tuple(
            [_entry(name_of(rank), f"λ_{rank}") for rank in range(1, options.top + 1)]
            + [_entry(SMALLEST, "λ_min")]
        )

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the largest eigenvalues in descending order, then the smallest."""
        count = min(self.options.top, context.n_parameters)
        names = [name_of(rank) for rank in range(1, count + 1)] + [SMALLEST]
        try:
            run = spectrum_run(context, self.options)
        except FloatingPointError as error:
            for name in names:
                yield Value(name, nan, reason=str(error))
            return
        for name, index in zip(names, [*range(count), -1], strict=True):
            converged = bool(run.converged[index])
            yield Value(
                name,
                run.values[index].item(),
                variant="" if converged else "unconverged",
                reason=None
                if converged
                else f"residual {run.residuals[index].item():.3g} above {run.tolerance:.3g} "
                f"after {run.iterations} iterations",
            )


def spectrum_run(context: MeasureContext, options: HessianSpectrumOptions) -> LanczosResult:
    """The Lanczos run for the Hessian of ``context``, shared by all that ask for the same.

    Raises:
        FloatingPointError: If a Hessian-vector product isn't finite.
    """
    return context.shared(
        ("lanczos", options.top, options.iterations, options.tolerance),
        lambda: lanczos(
            lambda vector: context.hessian_vector_product(vector.to(context.dtype)),
            context.n_parameters,
            top=min(options.top, context.n_parameters),
            iterations=options.iterations,
            tolerance=options.tolerance,
            generator=context.generator("lanczos"),
            device=context.device,
        ),
    )


def name_of(rank: int) -> str:
    """The name of the measure that is the ``rank``-th largest eigenvalue, from 1."""
    return f"hessian_eigenvalue_{rank}"


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
