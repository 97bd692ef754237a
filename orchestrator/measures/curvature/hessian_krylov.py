"""Krylov spaces of the Hessian and its extreme eigenvalues, shared by all measures."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.confirmation import confirmed, is_confirmed
from orchestrator.measures.curvature.krylov import Tridiagonalization
from orchestrator.measures.curvature.lanczos import Extremes, dense_spectrum, lanczos
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions

SINGLE_FROM = 10_000
"""Number of parameters from which float32 products are worth their confirmation in float64."""


def iterates_in_single(context: MeasureContext) -> bool:
    """Return whether iterations for ``context`` run in float32 first, to be confirmed."""
    return context.dtype == torch.float64 and context.n_parameters >= SINGLE_FROM


def extreme_eigenvalues(context: MeasureContext, options: HessianSpectrumOptions) -> Extremes:
    """Return the extreme eigenvalues of the Hessian, shared between equal options.

    Large networks are iterated on in float32, and the result is confirmed by one float64 product
    per eigenvalue. Where float32 leaves too large an error, the iteration is repeated in float64.
    With at least as many iterations as parameters, the values come from the dense Hessian.

    Raises:
        FloatingPointError: If a Hessian-vector product is not finite.
    """
    key = ("extremes", options.top, options.iterations, options.tolerance, options.smallest)
    return context.shared(key, partial(_extremes, context, options))


def _extremes(context: MeasureContext, options: HessianSpectrumOptions) -> Extremes:
    top = min(options.top, context.n_parameters)
    if options.iterations >= context.n_parameters:
        return dense_spectrum(context.hessian, top=top, smallest=options.smallest)

    def found(dtype: torch.dtype) -> Extremes:
        return lanczos(
            context.hessian_in(dtype),
            _krylov_space(context, dtype),
            partial(_complement_start, context),
            top=top,
            smallest=options.smallest,
            iterations=options.iterations,
            tolerance=options.tolerance,
        )

    if iterates_in_single(context):
        try:
            rough = found(torch.float32)
            single = context.hessian_in(torch.float32)
            precise = confirmed(
                context.hessian,
                single,
                rough,
                smallest=options.smallest,
                tolerance=options.tolerance,
            )
            if is_confirmed(precise, rough):
                return precise
        except (FloatingPointError, MeasureError):
            pass  # Outside the range of float32, or a network that does not run in it.
    return found(context.dtype)


def _krylov_space(context: MeasureContext, dtype: torch.dtype) -> Tridiagonalization:
    """Return the Krylov space that all requests grow.

    Measures that use it must list ``krylov_space`` in their needs. One vector of parameter length
    per product is kept until no measure needs the space. Its start is Gaussian: a vector of signs
    is orthogonal to some eigenvectors of symmetric networks.
    """
    spaces: dict[torch.dtype, Tridiagonalization] = context.shared("krylov_space", dict)
    if dtype not in spaces:
        start = context.probe(0, "gaussian")
        spaces[dtype] = Tridiagonalization(context.hessian_in(dtype), start=start)
    return spaces[dtype]


def _complement_start(context: MeasureContext, place: int) -> Tensor:
    generator = context.generator("lanczos", place)
    return torch.randn(context.n_parameters, generator=generator, dtype=torch.float64)
