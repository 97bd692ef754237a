"""Confirmation of eigenvalues found in float32 by a few products in float64."""

from __future__ import annotations

from dataclasses import replace

import torch

from orchestrator.measures.curvature.eigenvalue_bounds import above
from orchestrator.measures.curvature.lanczos import Extremes
from orchestrator.measures.curvature.ritz_block import orthonormal
from orchestrator.measures.symmetric_operator import SymmetricMatrix


def confirmed(
    A: SymmetricMatrix,
    rough: SymmetricMatrix,
    found: Extremes,
    *,
    smallest: bool,
    tolerance: float,
) -> Extremes:
    """Return eigenvalues of A from Ritz vectors of an approximation, with their errors.

    The values are those of A on the space of the Ritz vectors (Rayleigh and Ritz), which the
    approximation affects in second order only. By Weyl's inequality no eigenvalue of A differs by
    more than ‖E‖ from that of the approximation A − E. This norm is taken to be the largest ‖E y‖
    over the Ritz vectors y of the largest eigenvalues, where A and thus its rounding are largest.
    Around the smallest eigenvalue, rounding is that of a much smaller A y. There the largest ‖E y‖
    counts only in second order, over its distance to λ_1. Both add to the errors.

    Args:
        A: The matrix or operator, in float64.
        rough: The same in float32.
        found: Eigenvalues of ``rough``.
        smallest: Whether the last of them is the smallest eigenvalue.
        tolerance: Error up to which values count as converged, relative to their size.

    Returns:
        Eigenvalues with the errors and limits in float64.

    Raises:
        FloatingPointError: If a product is not finite.
        ValueError: If ``found`` has no Ritz vectors.
    """
    if found.vectors is None:
        raise ValueError("eigenvalues without Ritz vectors cannot be confirmed")
    vectors = orthonormal(found.vectors.double())
    products = A @ vectors
    difference = products - (rough @ vectors.to(rough.dtype)).double()
    if not difference.isfinite().all():
        raise FloatingPointError("the operator's product with a Ritz vector is not finite")
    matrix = (vectors.T @ products).cpu()
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0)
    changes = torch.linalg.vector_norm(difference, dim=0).cpu()
    largest = changes.max().item()
    distances = torch.full_like(values, largest)
    if smallest:
        distances[-1] = changes[-1] + above(-values[-1].item(), -values[0].item(), largest)
    rounding = found.rounding * torch.finfo(A.dtype).eps / torch.finfo(rough.dtype).eps
    return replace(
        found,
        values=values,
        errors=(found.values - values).abs() + found.errors + distances,
        limits=(tolerance * values.abs()).clamp_min(rounding),
        rounding=rounding,
    )


def is_confirmed(precise: Extremes, rough: Extremes) -> bool:
    """Return whether everything that converged in float32 is also within the limits of float64."""
    return bool((precise.converged | ~rough.converged).all())
