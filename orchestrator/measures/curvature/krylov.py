"""Tridiagonalization of a symmetric operator on its Krylov space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import torch
from torch import Tensor

from orchestrator.measures.scaling import norm
from orchestrator.measures.symmetric_operator import SymmetricMatrix

_BLOCK = 16  # Basis vectors per block of memory.
ROUNDINGS = 10
"""A residual of at most so many roundings of A is indistinguishable from zero."""


@dataclass(frozen=True)
class Tridiagonal:
    """The matrix T of the first vectors of a Krylov space.

    Attributes:
        diagonal: Diagonal of T.
        betas: Off-diagonal of T, then the norm of the residual outside the space, which is 0 if
            the space is invariant.
    """

    diagonal: Sequence[float]
    betas: Sequence[float]

    @property
    def size(self) -> int:
        """Number of rows of T, equal to the number of products with A."""
        return len(self.diagonal)

    @property
    def invariant(self) -> bool:
        """Whether A maps the space into itself."""
        return self.betas[-1] == 0

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return Ritz values θ, their residuals ‖A V s − θ V s‖ and the eigenvectors s of T.

        Returns:
            Shapes ``(m,)``, descending, ``(m,)`` and ``(m, m)``, in columns; all float64.
        """
        matrix = torch.diag(torch.tensor(self.diagonal, dtype=torch.float64))
        if self.size > 1:
            side = torch.tensor(self.betas[:-1], dtype=torch.float64)
            matrix += torch.diag(side, 1) + torch.diag(side, -1)
        values, vectors = (part.flip(-1) for part in torch.linalg.eigh(matrix))
        return values, self.betas[-1] * vectors[-1].abs(), vectors


class Tridiagonalization:
    """The Lanczos process: A V = V T + β v eᵀ with V orthonormal and T tridiagonal.

    Each step takes one product with A and adds one row to T. As eigenvectors converge, rounding
    makes new vectors lose their orthogonality to earlier ones, and eigenvalues would appear twice.
    Simon's recurrence (1984, 10.1090/S0025-5718-1984-0725988-X) estimates the loss from T alone.
    Only when it reaches ε^¾, with ε the precision of A, are two successive vectors orthogonalized
    against all others. Up to √ε, T would be as accurate as with full orthogonalization (Simon);
    the smaller limit also covers losses that the recurrence underestimates.
    Memory is that of the basis, ``dimension`` numbers of A's precision per step.

    The space grows on demand without changing T of its first vectors, so results do not depend on
    how far other callers have grown the space.

    Args:
        A: The matrix or operator, in any precision, which is also that of the vectors; their
            inner products are summed in float64.
        start: First vector, of any nonzero length, shape ``(dimension,)``.
        outside: Orthonormal columns Y, shape ``(dimension, k)``, in A's precision. The process
            then runs with P A P, P = 1 − Y Yᵀ, on the complement of Y.
        scale: A lower bound of ‖A‖, whose rounding is that of the products.

    Attributes:
        dimension: Size of A.
        precision: Machine epsilon of A.
    """

    def __init__(
        self,
        A: SymmetricMatrix,
        *,
        start: Tensor,
        outside: Tensor | None = None,
        scale: float = 0.0,
    ) -> None:
        self.dimension = A.shape[0]
        self.precision = torch.finfo(A.dtype).eps
        self._A = A
        self._outside = outside
        self._scale = scale
        self._couplings: list[Tensor] = []
        start = start.to(device=A.device, dtype=A.dtype)
        if outside is not None:
            start = start - outside @ (outside.T @ start)
        self._vector = start / norm(start)
        self._basis = _Basis(self.dimension, A.dtype, A.device)
        self._loss = _OrthogonalityLoss(self.precision, self.dimension)
        # One entry per step.
        self._diagonal: list[float] = []
        self._betas: list[float] = []

    @property
    def size(self) -> int:
        """Number of steps done, equal to the number of products with A."""
        return len(self._diagonal)

    def first(self, size: int) -> Tridiagonal:
        """Return T of the first ``size`` vectors, or of fewer if those span an invariant space.

        Raises:
            FloatingPointError: If A v is not finite.
        """
        while self.size < size and not (self._betas and self._betas[-1] == 0):
            self._step()
        return Tridiagonal(self._diagonal[:size], self._betas[:size])

    def vectors(self, coefficients: Tensor) -> Tensor:
        """Return linear combinations of the first m basis vectors.

        Args:
            coefficients: Shape ``(m, k)``, float64.

        Returns:
            Shape ``(dimension, k)``, in A's precision.
        """
        return self._basis.combined(coefficients)

    def couplings(self, size: int) -> Tensor:
        """Return Yᵀ A V of the first ``size`` vectors, shape ``(k, size)``, float64."""
        return torch.stack(self._couplings[:size], dim=1).to("cpu", torch.float64)

    def _step(self) -> None:
        """Add one vector to the space."""
        before = self._betas[-1] if self._betas else 0.0
        product = self._A @ self._vector
        alpha = torch.dot(self._vector.double(), product.double()).item()
        rest = torch.add(product, self._vector, alpha=-alpha)
        if self._betas:
            rest.add_(self._basis.last(), alpha=-before)
        if self._outside is not None:
            self._couplings.append(self._outside.T @ rest)
            rest -= self._outside @ self._couplings[-1]
        beta = norm(rest)
        if not isfinite(alpha) or not isfinite(beta):
            raise FloatingPointError(
                f"the operator's product with a vector is not finite (iteration {self.size + 1})"
            )
        self._basis.append(self._vector)
        self._diagonal.append(alpha)
        self._scale = max(self._scale, abs(alpha), beta)
        if self._loss.is_large(self._diagonal, [*self._betas, beta], self._scale):
            rest = self._basis.orthogonalized(rest)
            beta = norm(rest)
        # Twice after a loss of nearly all digits.
        if beta <= 1e-2 * max(abs(alpha), before):
            rest = self._basis.orthogonalized(rest)
            beta = norm(rest)
        double = torch.finfo(torch.float64).eps * sqrt(self.dimension)
        if beta <= ROUNDINGS * max(self.precision, double) * self._scale:
            beta = 0.0
        else:
            self._vector = rest / beta
        self._betas.append(beta)


class _OrthogonalityLoss:
    """Estimates ω_j of the inner products of the newest vector with the earlier ones."""

    def __init__(self, precision: float, dimension: int) -> None:
        self._rounding = max(precision, torch.finfo(torch.float64).eps * sqrt(dimension))
        self._before = torch.zeros(0, dtype=torch.float64)  # Estimates for v_k−1 …
        self._newest = torch.ones(1, dtype=torch.float64)  # … and v_k; the last is v_kᵀv_k.
        self._again = False

    def is_large(self, diagonal: Sequence[float], betas: Sequence[float], scale: float) -> bool:
        """Return whether v_k+1 has to be orthogonalized, and assume that it will be.

        Args:
            diagonal: α_1 … α_k.
            betas: β_1 … β_k, with β_k the norm of v_k+1 before normalization.
            scale: ‖A‖, approximately.
        """
        size, beta = len(diagonal), betas[-1]
        a = torch.tensor(diagonal, dtype=torch.float64)
        b = torch.tensor([0.0, *betas], dtype=torch.float64)  # b[j] = β_j couples v_j and v_j+1.
        newest, before = self._newest, self._before
        # β_k ω_k+1,j = β_j ω_k,j+1 + (α_j − α_k) ω_k,j + β_j−1 ω_k,j−1 − β_k−1 ω_k−1,j + rounding
        found = b[1:size] * newest[1:] + (a[:-1] - a[-1]) * newest[:-1]
        found[1:] += b[1 : size - 1] * newest[: size - 2]
        found -= b[size - 1] * before
        found += torch.where(found < 0, -1.0, 1.0) * self._rounding * scale
        found = found / beta if beta > 0 else torch.full_like(found, torch.inf)
        large = self._again or bool((found.abs() > self._rounding**0.75).any())
        if large:
            found = torch.full_like(found, self._rounding)
            # The recurrence has two terms, so the next vector needs it, too.
            self._again = not self._again
        ends = torch.tensor([self._rounding, 1.0], dtype=torch.float64)
        self._before, self._newest = newest, torch.cat([found, ends])
        return large


class _Basis:
    """Vectors of one precision, stored in blocks to avoid copying when growing."""

    def __init__(self, dimension: int, dtype: torch.dtype, device: torch.device) -> None:
        self._shape = (min(_BLOCK, dimension), dimension)
        self._options: Any = {"dtype": dtype, "device": device}
        self._blocks: list[Tensor] = []
        self._size = 0

    def append(self, vector: Tensor) -> None:
        place = self._size % self._shape[0]
        if place == 0:
            self._blocks.append(torch.zeros(self._shape, **self._options))
        self._blocks[-1][place] = vector
        self._size += 1

    def last(self) -> Tensor:
        """Return the vector appended last."""
        return self._blocks[-1][(self._size - 1) % self._shape[0]]

    def combined(self, coefficients: Tensor) -> Tensor:
        """Return the linear combinations of the first vectors, in columns."""
        total = torch.zeros(coefficients.shape[1], self._shape[1], **self._options)
        parts = torch.split(coefficients.to(**self._options), self._shape[0])
        for block, part in zip(self._blocks, parts, strict=False):
            total.addmm_(part.T, block[: len(part)])
        return total.T

    def orthogonalized(self, vector: Tensor) -> Tensor:
        """Return the component of ``vector`` orthogonal to the basis."""
        for block in self._blocks:
            vector = torch.addmv(vector, block.T, block @ vector, alpha=-1)
        return vector
