"""Tridiagonalization of a symmetric operator on its Krylov space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from orchestrator.measures.scaling import norm
from orchestrator.measures.symmetric_operator import SymmetricMatrix

_BLOCK = 16  # Basis vectors per block of memory.
# A vector that keeps less than this fraction of its length is orthogonalized again
# ("twice is enough": Giraud, Langou and Rozložník, 10.1007/s00211-005-0615-4).
_KEPT = 0.7


@dataclass(frozen=True)
class Tridiagonal:
    """The matrix T of the first vectors of a Krylov space.

    Attributes:
        diagonal: Diagonal of T.
        off_diagonal: Off-diagonal of T, one entry fewer; 0 where a new block begins.
        beta: Norm of the residual outside the space; 0 if the space is invariant.
        block: Row of T where the last block begins.
        precision: Machine epsilon of the products with A.
    """

    diagonal: Sequence[float]
    off_diagonal: Sequence[float]
    beta: float
    block: int
    precision: float

    @property
    def size(self) -> int:
        """Number of rows of T, equal to the number of products with A."""
        return len(self.diagonal)

    @property
    def invariant(self) -> bool:
        """Whether A maps the space into itself."""
        return self.beta == 0

    def eigensystem(self, first: int = 0) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues of T, ascending, and eigenvectors in columns, both float64.

        Args:
            first: First row of T to include.
        """
        side = torch.tensor(self.off_diagonal[first:], dtype=torch.float64)
        matrix = torch.diag(torch.tensor(self.diagonal[first:], dtype=torch.float64))
        if len(side):
            matrix += torch.diag(side, 1) + torch.diag(side, -1)
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors


class Tridiagonalization:
    """The Lanczos process: A V = V T + β v eᵀ with V orthonormal and T tridiagonal.

    Each step takes one product with A and adds one row to T. Every new vector is
    orthogonalized against all previous ones in float64, so that simple eigenvalues do not appear
    twice. Memory is that of the basis, ``dimension`` numbers per step. If β vanishes, the space is
    invariant, and the next step continues from a random vector orthogonal to it, in a new block of
    T.

    The space grows on demand without changing T of its first vectors, so results do not depend on
    how far other callers have grown the space.

    Args:
        A: The matrix or operator, in any precision; the space itself is in float64.
        start: First vector, of any nonzero length, shape ``(dimension,)``; random by default.
        generator: CPU generator of random vectors; torch's default generator by default.

    Attributes:
        dimension: Size of A.
    """

    def __init__(
        self,
        A: SymmetricMatrix,
        *,
        start: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.dimension = A.shape[0]
        self._A = A
        self._basis = _Basis(self.dimension, A.device, generator)
        if start is None:
            self._vector = self._basis.random()
        else:
            start = start.to(device=A.device, dtype=torch.float64)
            self._vector = start / norm(start)
        # One entry per step.
        self._diagonal: list[float] = []
        self._betas: list[float] = []
        self._blocks: list[int] = []

    def first(self, size: int) -> Tridiagonal:
        """Return T of the first ``size`` vectors, at most ``dimension``.

        Raises:
            FloatingPointError: If A v is not finite.
        """
        while len(self._diagonal) < size:
            self._step()
        return Tridiagonal(
            diagonal=self._diagonal[:size],
            off_diagonal=self._betas[: size - 1],
            beta=self._betas[size - 1],
            block=self._blocks[size - 1],
            precision=torch.finfo(self._A.dtype).eps,
        )

    def first_block(self, size: int) -> Tridiagonal:
        """Return T as ``first`` does, or T of a smaller space if that is already invariant.

        Raises:
            FloatingPointError: If A v is not finite.
        """
        for smaller in range(1, size):
            if (matrix := self.first(smaller)).invariant:
                return matrix
        return self.first(size)

    def _step(self) -> None:
        """Add one vector to the space."""
        size = len(self._diagonal)
        before = self._betas[-1] if size else 0.0
        block = self._blocks[-1] if size else 0
        if size and before == 0:
            block, self._vector = size, self._basis.random()
        product = (self._A @ self._vector.to(self._A.dtype)).to(torch.float64)
        if not isfinite(norm(product)):
            raise FloatingPointError(
                f"the operator's product with a vector is not finite (iteration {size + 1})"
            )
        alpha = torch.dot(self._vector, product).item()
        # Subtract these first, which leaves little for the orthogonalization.
        rest = product - alpha * self._vector
        if before > 0:
            rest -= before * self._basis.last()
        self._basis.append(self._vector)
        rest = self._basis.orthogonalize(rest)
        beta = norm(rest)
        scale = max(map(abs, [*self._diagonal, *self._betas, alpha, beta]))
        rounding = 10 * torch.finfo(torch.float64).eps * len(rest) ** 0.5 * scale
        if beta <= rounding:
            beta = 0.0
        else:
            self._vector = rest / beta
        self._diagonal.append(alpha)
        self._betas.append(beta)
        self._blocks.append(block)


class _Basis:
    """Orthonormal float64 vectors, stored in blocks to avoid copying when growing."""

    def __init__(
        self, dimension: int, device: torch.device, generator: torch.Generator | None
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
        """Return the vector appended last."""
        return self.blocks[-1][(self.size - 1) % _BLOCK]

    def random(self) -> Tensor:
        """Return a random unit vector orthogonal to the basis."""
        while True:
            vector = torch.randn(self.dimension, generator=self.generator, dtype=torch.float64)
            vector = self.orthogonalize(vector.to(self.device))
            length = norm(vector)
            # A remainder this short consists of rounding.
            if length > 1e-8:
                return vector.div(length)

    def orthogonalize(self, vector: Tensor) -> Tensor:
        """Return the component of ``vector`` orthogonal to the basis."""
        before = norm(vector)
        for _ in range(3):
            for block in self.blocks:
                vector = torch.addmv(vector, block.T, block @ vector, alpha=-1)
            after = norm(vector)
            if after >= _KEPT * before:
                break
            before = after
        return vector
