"""Extreme eigenvalues of a symmetric operator by the Lanczos method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.measures.curvature.krylov import Tridiagonal, Tridiagonalization

_LOOK_EVERY = 5  # iterations between two looks at the Ritz values
# A residual of so many roundings of the largest eigenvalue cannot be improved upon.
_ROUNDINGS = 10


@dataclass(frozen=True)
class LanczosResult:
    """What one run found of the spectrum of A.

    Attributes:
        values: All Ritz values θ, descending, shape ``(m,)``, float64. The largest are lower
            bounds of the largest eigenvalues, one for one (Cauchy interlacing), the smallest
            an upper bound of the smallest.
        residuals: ‖A y − θ y‖ of each Ritz pair; an eigenvalue lies this near to θ.
        limits: Residual up to which each value counts as converged.
        rounding: Size up to which a value cannot be told from zero.
        diagonal: Of the tridiagonal matrix, shape ``(m,)``, in the order of the iterations.
        off_diagonal: Beside it, shape ``(m − 1,)``; 0 where an invariant subspace was complete.
        complete: Whether the run went through the whole space, so that every value is exact.
    """

    values: Tensor
    residuals: Tensor
    limits: Tensor
    rounding: float
    diagonal: Tensor
    off_diagonal: Tensor
    complete: bool

    @property
    def iterations(self) -> int:
        """Number of products with A."""
        return len(self.values)

    @property
    def converged(self) -> Tensor:
        """Which of ``values`` have converged, shape ``(m,)``."""
        return self.residuals <= self.limits


def lanczos(
    space: Tridiagonalization,
    *,
    top: int = 1,
    smallest: bool = True,
    iterations: int = 100,
    tolerance: float = 1e-3,
) -> LanczosResult:
    """Find the ``top`` largest eigenvalues (algebraic, not by magnitude) and the smallest.

    A is projected on its Krylov space, from a start that is not orthogonal to what is looked
    for (a random one). An eigenpair (θ, s) of T gives the Ritz pair (θ, V s) of A with the
    residual β |s_m| (Parlett, The Symmetric Eigenvalue Problem, chapter 13). The run ends once
    each value asked for has a residual of at most ``tolerance`` · |θ|: of its own size, as the
    smallest is often a thousandth of the largest. Values that nearly vanish, of which no digit
    is known, count as converged at ten roundings of the largest.

    When β vanishes, the space is invariant and the run goes on from a random vector orthogonal
    to it. So repeated eigenvalues are found where A has few different ones (low rank, a
    multiple of the identity). Where it doesn't, a Krylov space holds a single direction of each
    eigenspace, and no such method can tell a repeated eigenvalue: the values are then right,
    but one may be missing after another equal to it. With ``iterations`` ≥ ``dimension`` the
    whole space is gone through, and all values are exact, with their multiplicities.

    Args:
        space: The Krylov space of A, which is made larger where necessary. How large others
            have made it changes nothing.
        top: How many of the largest eigenvalues to wait for.
        smallest: Whether to wait for the smallest, too.
        iterations: Most products with A.
        tolerance: Residual to stop at, relative to the |θ| it belongs to.

    Raises:
        FloatingPointError: If A v isn't finite.
    """
    steps = min(iterations, space.dimension)
    exhaustive = iterations >= space.dimension
    for size in range(1, steps + 1):
        matrix = space.first(size)
        look = matrix.invariant or size % _LOOK_EVERY == 0
        if look and not exhaustive and _finished(matrix, top, smallest, tolerance):
            break
    complete = matrix.size == space.dimension
    values, residuals = _ritz(matrix)
    return LanczosResult(
        values=values.flip(0),
        residuals=torch.zeros_like(values) if complete else residuals.flip(0),
        limits=_limits(matrix, values, tolerance).flip(0),
        rounding=_rounding(matrix, values),
        diagonal=torch.tensor(matrix.diagonal, dtype=torch.float64),
        off_diagonal=torch.tensor(matrix.off_diagonal, dtype=torch.float64),
        complete=complete,
    )


def _ritz(matrix: Tridiagonal, first: int = 0) -> tuple[Tensor, Tensor]:
    """Ritz values, ascending, and their residuals."""
    values, vectors = matrix.eigensystem(first)
    return values, matrix.beta * vectors[-1].abs()


def _limits(matrix: Tridiagonal, values: Tensor, tolerance: float) -> Tensor:
    """Residuals up to which Ritz values count as converged."""
    return (tolerance * values.abs()).clamp_min(_rounding(matrix, values))


def _rounding(matrix: Tridiagonal, values: Tensor) -> float:
    return float(_ROUNDINGS * matrix.precision * values.abs().max().item())


def _finished(matrix: Tridiagonal, top: int, smallest: bool, tolerance: float) -> bool:
    values, residuals = _ritz(matrix)
    limits = _limits(matrix, values, tolerance)
    converged = residuals <= limits
    if len(values) <= top or not converged[-top:].all() or (smallest and not converged[0]):
        return False
    if matrix.invariant and matrix.block == 0:
        return False  # what lies beside the invariant subspace is still unknown
    if matrix.block == 0:
        return True
    # After a restart the values before it are converged at once. What lies beside them is known
    # when the new subspace has shown its own extremes, and these add nothing to what is wanted.
    values_here, residuals_here = _ritz(matrix, matrix.block)
    if smallest and residuals_here[0] > limits[0]:
        return False
    known = residuals_here[-1] <= limits[-top]
    return bool(known and values_here[-1] <= values[-top] + limits[-top])
