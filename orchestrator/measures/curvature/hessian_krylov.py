"""Krylov spaces of the Hessian, from the probes that all measures share."""

from __future__ import annotations

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.krylov import Tridiagonalization


def hessian_krylov_space(context: MeasureContext, probe: int) -> Tridiagonalization:
    """The Krylov space of ∇²L from probe number ``probe`` of ``context``, empty as yet.

    Its further random vectors, where the space turns out to be invariant, depend on the probes'
    seed and the probe alone.
    """
    return Tridiagonalization(
        lambda vector: context.hessian_vector_product(vector.to(context.dtype)),
        context.n_parameters,
        start=context.probe(probe),
        generator=context.generator("lanczos", probe),
        device=context.device,
    )


def shared_krylov_space(context: MeasureContext) -> Tridiagonalization:
    """The space from probe 0, which eigenvalues and density have in common.

    Who uses it has ``krylov_space`` among its needs: a vector of the length of the parameters
    for each product is kept until no measure needs them.
    """
    return context.shared("krylov_space", lambda: hessian_krylov_space(context, 0))
