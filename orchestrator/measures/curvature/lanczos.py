"""Extreme eigenvalues of a symmetric operator by the Lanczos method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

# Iterations between two looks at the Ritz values, and basis vectors in one block of memory.
_LOOK_EVERY = 5
_BLOCK = 16
# A vector that loses more than this share of its length to the basis is orthogonalized again
# ("twice is enough": Giraud, Langou and Rozložník, 10.1007/s00211-005-0615-4).
_KEPT = 0.7


@dataclass(frozen=True)
class LanczosResult:
    """What one run found of the spectrum of A.

    Attributes:
        values: All Ritz values θ, descending, shape ``(m,)``, float64. The largest are lower
            bounds of the largest eigenvalues, one for one (Cauchy interlacing), the smallest
            an upper bound of the smallest.
        residuals: ‖A y − θ y‖ of each Ritz pair; an eigenvalue lies this near to θ.
        tolerance: Residual up to which a value counts as converged.
        diagonal: Of the tridiagonal matrix, shape ``(m,)``, in the order of the iterations.
        off_diagonal: Beside it, shape ``(m − 1,)``; 0 where an invariant subspace was complete.
        complete: Whether the run went through the whole space, so that every value is exact.
    """

    values: Tensor
    residuals: Tensor
    tolerance: float
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
        return self.residuals <= self.tolerance


def lanczos(
    matvec: Callable[[Tensor], Tensor],
    dimension: int,
    *,
    top: int = 1,
    iterations: int = 100,
    tolerance: float = 1e-3,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> LanczosResult:
    """Find the ``top`` largest eigenvalues (algebraic, not by magnitude) and the smallest.

    From a random start, A is projected on its Krylov space, where it is tridiagonal:
    A V = V T + β v eᵀ. An eigenpair (θ, s) of T gives the Ritz pair (θ, V s) of A with the
    residual β |s_m| (Parlett, The Symmetric Eigenvalue Problem, chapter 13). Every new vector
    is orthogonalized against all before it, in float64, so that no eigenvalue shows up twice
    that isn't double. The run ends once all that was asked for has a residual of at most
    ``tolerance`` · max |θ|.

    When β vanishes, the space is invariant and the run goes on from a random vector orthogonal
    to it. So repeated eigenvalues are found where A has few different ones (low rank, a
    multiple of the identity). Where it doesn't, a Krylov space holds a single direction of each
    eigenspace, and no such method can tell a repeated eigenvalue: the values are then right,
    but one may be missing after another equal to it. With ``iterations`` ≥ ``dimension`` the
    whole space is gone through, and all values are exact, with their multiplicities.

    Args:
        matvec: v ↦ A v for vectors of shape ``(dimension,)``, float64; may return a lower
            precision.
        dimension: Size of A.
        top: How many of the largest eigenvalues to wait for.
        iterations: Most products with A.
        tolerance: Residual to stop at, relative to the largest |θ|.
        generator: Of the start vectors, on the CPU; by default torch's own.
        device: Where the vectors live.

    Raises:
        FloatingPointError: If A v isn't finite.
    """
    steps = min(iterations, dimension)
    exhaustive = iterations >= dimension
    basis = _Basis(dimension, device, generator)
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    block = 0  # where the present invariant subspace began
    vector = basis.random()
    while True:
        product = matvec(vector).to(torch.float64)
        diagonal.append(torch.dot(vector, product).item())
        # Taken away first, so that little is left for the basis to take away.
        rest = product - diagonal[-1] * vector
        if off_diagonal and off_diagonal[-1] > 0:
            rest -= off_diagonal[-1] * basis.last()
        basis.append(vector)
        rest = basis.orthogonalize(rest)
        beta = torch.linalg.vector_norm(rest).item()
        if not (isfinite(diagonal[-1]) and isfinite(beta)):
            raise FloatingPointError(
                f"the operator's product with a vector isn't finite (iteration {len(diagonal)})"
            )
        scale = max(map(abs, [*diagonal, *off_diagonal]))
        broken = beta <= 10 * torch.finfo(torch.float64).eps * dimension**0.5 * max(scale, beta)
        done = len(diagonal)
        look = broken or done % _LOOK_EVERY == 0 or done == steps
        if done == steps or (
            look
            and not exhaustive
            and _finished(diagonal, off_diagonal, 0.0 if broken else beta, block, top, tolerance)
        ):
            return _result(diagonal, off_diagonal, beta, tolerance, complete=done == dimension)
        off_diagonal.append(0.0 if broken else beta)
        if broken:
            block = done
            vector = basis.random()
        else:
            vector = rest / beta


def _ritz(diagonal: list[float], off_diagonal: list[float], beta: float) -> tuple[Tensor, Tensor]:
    """Ritz values, ascending, and their residuals."""
    side = torch.tensor(off_diagonal, dtype=torch.float64)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if len(side):
        matrix += torch.diag(side, 1) + torch.diag(side, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return values, beta * vectors[-1].abs()


def _finished(
    diagonal: list[float],
    off_diagonal: list[float],
    beta: float,
    block: int,
    top: int,
    tolerance: float,
) -> bool:
    values, residuals = _ritz(diagonal, off_diagonal, beta)
    limit = tolerance * values.abs().max().item()
    if len(values) <= top or (residuals[-top:] > limit).any() or residuals[0] > limit:
        return False
    if beta == 0 and block == 0:
        return False  # an invariant subspace: what lies beside it is still unknown
    if block == 0:
        return True
    # After a restart the values before it are converged at once. What lies beside them is known
    # when the new subspace has shown its own extremes, and these add nothing to what is wanted.
    values_here, residuals_here = _ritz(diagonal[block:], off_diagonal[block:], beta)
    extremes_known = max(residuals_here[0], residuals_here[-1]) <= limit
    return bool(extremes_known and values_here[-1] <= values[-top] + limit)


def _result(
    diagonal: list[float],
    off_diagonal: list[float],
    beta: float,
    tolerance: float,
    *,
    complete: bool,
) -> LanczosResult:
    values, residuals = _ritz(diagonal, off_diagonal, 0.0 if complete else beta)
    return LanczosResult(
        values=values.flip(0),
        residuals=residuals.flip(0),
        tolerance=tolerance * values.abs().max().item(),
        diagonal=torch.tensor(diagonal, dtype=torch.float64),
        off_diagonal=torch.tensor(off_diagonal, dtype=torch.float64),
        complete=complete,
    )


class _Basis:
    """Orthonormal vectors, float64, held in blocks so that growing copies nothing."""

    def __init__(
        self, dimension: int, device: torch.device | str, generator: torch.Generator | None
    ) -> None:
        self.dimension = dimension
        self.device = device
        self.generator = generator
        self.blocks: list[Tensor] = []
        self.size = 0

    def append(self, vector: Tensor) -> None:
        place = self.size % _BLOCK
        if place == 0:
            shape = (min(_BLOCK, self.dimension), self.dimension)
            self.blocks.append(torch.zeros(shape, dtype=torch.float64, device=self.device))
        self.blocks[-1][place] = vector
        self.size += 1

    def last(self) -> Tensor:
        """The vector appended last."""
        return self.blocks[-1][(self.size - 1) % _BLOCK]

    def random(self) -> Tensor:
        """A random unit vector orthogonal to all."""
        while True:
            vector = torch.randn(self.dimension, generator=self.generator, dtype=torch.float64)
            vector = self.orthogonalize(vector.to(self.device))
            length = float(torch.linalg.vector_norm(vector))
            # Far shorter than a random vector's share outside the basis would be rounding.
            if length > 1e-8:
                return vector.div(length)

    def orthogonalize(self, vector: Tensor) -> Tensor:
        """The part of ``vector`` that is orthogonal to all."""
        before = float(torch.linalg.vector_norm(vector))
        for _ in range(3):
            for block in self.blocks:
                vector = torch.addmv(vector, block.T, block @ vector, alpha=-1)
            after = float(torch.linalg.vector_norm(vector))
            if after >= _KEPT * before:
                break
            before = after
        return vector
