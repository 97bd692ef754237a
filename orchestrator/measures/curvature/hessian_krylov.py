"""Krylov spaces of the Hessian, started from the probes shared by all measures."""

from __future__ import annotations

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.krylov import Tridiagonalization


def hessian_krylov_space(context: MeasureContext, probe: int) -> Tridiagonalization:
    """Return an initially empty Krylov space of ∇²L, started from probe number ``probe``.

    Further random vectors, needed if the space turns out to be invariant, depend only on the
    probes' seed and the probe.
    """
    return Tridiagonalization(
        context.hessian,
        start=context.probe(probe),
        generator=context.generator("lanczos", probe),
    )


def shared_krylov_space(context: MeasureContext) -> Tridiagonalization:
    """Return the space from probe 0, shared by eigenvalues and spectral density.

    Measures that use it must list ``krylov_space`` in their needs. One vector of parameter length
    per product is kept until no measure needs the space.
    """
    return context.shared("krylov_space", lambda: hessian_krylov_space(context, 0))
