"""Extreme eigenvalues of a symmetric operator by the Lanczos method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.measures.curvature.eigenvalue_bounds import beyond
from orchestrator.measures.curvature.krylov import Tridiagonalization
from orchestrator.measures.curvature.ritz_block import (
    CHECK_EVERY,
    Completed,
    RitzBlock,
    completed,
    orthonormal,
)
from orchestrator.measures.symmetric_operator import SymmetricMatrix

RISK = 0.005
"""Probability that an error is too small, for each of two reasons."""
# Errors below this multiple of the rounding of the largest eigenvalue cannot be improved.
_ROUNDINGS = 10


@dataclass(frozen=True)
class Extremes:
    """The largest eigenvalues λ_1 ≥ … ≥ λ_k, and the smallest if requested.

    Attributes:
        values: The largest, descending, then the smallest, shape ``(k,)`` or ``(k + 1,)``, float64.
            Up to rounding, no λ_j is below its value, nor is the smallest above its own.
        errors: Largest distances to the eigenvalues of the same rank, each with a certainty of
            99 % over random starts.
        limits: Errors up to which the values count as converged.
        rounding: Size up to which a value is indistinguishable from zero.
        products: Number of products with A.
        vectors: Orthonormal Ritz vectors, shape ``(dimension, len(values))``; None if the values
            come from the dense matrix.
    """

    values: Tensor
    errors: Tensor
    limits: Tensor
    rounding: float
    products: int
    vectors: Tensor | None = None

    @property
    def converged(self) -> Tensor:
        """Which of ``values`` have converged."""
        return self.errors <= self.limits


def lanczos(
    A: SymmetricMatrix,
    space: Tridiagonalization,
    start: Callable[[int], Tensor],
    *,
    top: int = 1,
    smallest: bool = True,
    iterations: int = 100,
    tolerance: float = 1e-3,
) -> Extremes:
    """Find the ``top`` largest eigenvalues (algebraic, not by magnitude) and the smallest.

    A is projected onto its Krylov space. An eigenpair (θ, s) of T gives the Ritz pair (θ, V s) of A
    with the residual β |s_m| (Parlett, The Symmetric Eigenvalue Problem, chapter 13). The error of
    the largest value and that of the smallest follow from the random start
    (:mod:`~orchestrator.measures.curvature.eigenvalue_bounds`). If more than one of the largest is
    requested, a second Krylov space in the complement of their Ritz vectors finds what is repeated
    or was left out (:mod:`~orchestrator.measures.curvature.ritz_block`). Both end as soon as each
    error is at most ``tolerance`` · |θ|. This is relative to its own size, as the smallest is often
    a thousandth of the largest. Nearly vanishing values, with no reliable digit, count as converged
    at ten roundings of the largest.

    Args:
        A: The matrix or operator.
        space: Its Krylov space, whose start vector was Gaussian, grown as needed. Its initial
            size does not affect the result.
        start: Returns Gaussian vectors number 0, 1, …, independent of the space, shape
            ``(dimension,)``.
        top: Number of largest eigenvalues, at most ``dimension``.
        smallest: Whether the smallest eigenvalue is requested, too.
        iterations: Maximum number of products with A for the space, and for its complement.
        tolerance: Error at which to stop, relative to |θ|.

    Raises:
        FloatingPointError: If A v is not finite.
    """

    def limits(values: Tensor) -> Tensor:
        return (tolerance * values.abs()).clamp_min(rounding)

    rounding = 0.0
    steps = min(iterations, space.dimension)
    for size in range(1, steps + 1):
        if size % CHECK_EVERY and size < steps and not space.first(size).invariant:
            continue
        matrix = space.first(size)
        values, residuals, rotation = matrix.ritz()
        rounding = _ROUNDINGS * space.precision * values.abs().max().item()
        over = beyond(matrix, values, space.dimension, risk=RISK)
        under = beyond(matrix, -values, space.dimension, risk=RISK) if smallest else 0.0
        settled = int(torch.cumprod((residuals <= limits(values)).int(), 0).sum())
        if matrix.invariant or (
            over <= limits(values[:1]).item()
            and under <= limits(values[-1:]).item()
            and (top == 1 or min(settled, matrix.size - 1) >= top)
        ):
            break
    highest = values[0].item() + over
    enough = matrix.invariant or settled >= top
    taken = _taken(values, residuals, top, limits) if top > 1 and enough else min(top, matrix.size)
    vectors = orthonormal(space.vectors(rotation[:, :taken]))
    block = RitzBlock(values[:taken], vectors, torch.linalg.vector_norm(residuals[:taken]).item())
    found = Completed(block, highest - block.values, 0)
    if top > 1 and enough:
        found = completed(
            A,
            block,
            highest,
            count=top,
            limits=limits,
            iterations=iterations,
            start=start,
            risk=RISK,
        )
    largest, vectors, errors = found.block.values[:top], found.block.vectors[:, :top], found.errors
    if smallest:
        largest = torch.cat([largest, values[-1:]])
        vectors = torch.cat([vectors, space.vectors(rotation[:, -1:])], dim=1)
        errors = torch.cat([errors[:top], torch.tensor([under], dtype=torch.float64)])
    return Extremes(
        values=largest,
        errors=errors[: len(largest)],
        limits=limits(largest),
        rounding=rounding,
        products=matrix.size + found.products,
        vectors=vectors,
    )


def _taken(values: Tensor, residuals: Tensor, top: int, limits: Callable[[Tensor], Tensor]) -> int:
    """Return how many Ritz vectors to leave out of the second space.

    The more of them, the lower the eigenvalues that remain, so the bound of these falls below λ_k
    sooner. But the residuals of those taken must not matter at that distance.
    """
    if len(values) <= top:
        return len(values)
    least = values[top - 1]
    together = residuals.square().cumsum(0)
    allowed = 0.25 * limits(least) * (least - values).clamp_min(0)
    fit = torch.nonzero(together[top - 1 : -1] <= allowed[top:])
    return top + (int(fit[-1]) if len(fit) else 0)


def dense_spectrum(A: SymmetricMatrix, *, top: int = 1, smallest: bool = True) -> Extremes:
    """Return eigenvalues of A from all of its columns, exact with their multiplicities.

    Args:
        A: The matrix or operator, small enough to be stored.
        top: Number of largest eigenvalues, at most ``dimension``.
        smallest: Whether the smallest eigenvalue is requested, too.

    Raises:
        FloatingPointError: If A is not finite.
    """
    matrix = (A @ torch.eye(A.shape[0], dtype=A.dtype, device=A.device)).to(torch.float64)
    if not matrix.isfinite().all():
        raise FloatingPointError("the operator's product with a vector is not finite")
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0).cpu()
    rounding = _ROUNDINGS * torch.finfo(A.dtype).eps * values.abs().max().item()
    values = torch.cat([values[:top], values[-1:]]) if smallest else values[:top]
    exact = torch.zeros_like(values)
    return Extremes(values, exact, exact, rounding, A.shape[0])
