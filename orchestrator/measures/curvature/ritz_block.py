"""The largest eigenvalues with their multiplicities, and what the rest can be at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, inf

import torch
from torch import Tensor

from orchestrator.measures.curvature.eigenvalue_bounds import above, beyond
from orchestrator.measures.curvature.krylov import Tridiagonal, Tridiagonalization
from orchestrator.measures.symmetric_operator import SymmetricMatrix

CHECK_EVERY = 2
"""Iterations between checks of the Ritz values."""


@dataclass(frozen=True)
class RitzBlock:
    """Orthonormal Y with Yᵀ A Y diagonal.

    Attributes:
        values: The diagonal, descending, shape ``(k,)``, float64.
        vectors: Y, shape ``(dimension, k)``, in A's precision.
        coupling: At least ‖A Y − Y Yᵀ A Y‖.
    """

    values: Tensor
    vectors: Tensor
    coupling: float

    def joined(
        self, values: Tensor, vectors: Tensor, couplings: Tensor, outside: float
    ) -> RitzBlock:
        """Return the block of Y and of Z, which is orthogonal to Y and has Zᵀ A Z diagonal.

        Args:
            values: Diagonal of Zᵀ A Z, shape ``(m,)``.
            vectors: Z, shape ``(dimension, m)``.
            couplings: Yᵀ A Z, shape ``(k, m)``.
            outside: Norm of the part of A Z outside of Y and Z.
        """
        matrix = torch.diag(torch.cat([self.values, values]))
        size = len(self.values)
        matrix[:size, size:], matrix[size:, :size] = couplings, couplings.T
        found, rotation = (part.flip(-1) for part in torch.linalg.eigh(matrix))
        both = torch.cat([self.vectors, vectors], dim=1)
        both = orthonormal(both @ rotation.to(both))
        return RitzBlock(found, both, hypot(self.coupling, outside))


def orthonormal(vectors: Tensor) -> Tensor:
    """Return the orthonormal columns nearest to nearly orthonormal ones."""
    gram = (vectors.T @ vectors).double()
    values, rotation = torch.linalg.eigh(gram)
    root: Tensor = rotation @ torch.diag(values.rsqrt()) @ rotation.T
    return vectors @ root.to(vectors)


@dataclass(frozen=True)
class Completed:
    """The largest eigenvalues, with the distances by which they can be too small.

    Attributes:
        block: The Ritz values and vectors, at least as many as requested.
        errors: Distances to the eigenvalues of the same rank, shape ``(k,)``.
        products: Number of products with A that this took.
    """

    block: RitzBlock
    errors: Tensor
    products: int


def completed(
    A: SymmetricMatrix,
    block: RitzBlock,
    highest: float,
    *,
    count: int,
    limits: Callable[[Tensor], Tensor],
    iterations: int,
    start: Callable[[int], Tensor],
    risk: float,
) -> Completed:
    """Search the complement of ``block`` until the ``count`` largest eigenvalues are certain.

    A Krylov space contains one vector of each eigenspace, so it cannot tell that an eigenvalue is
    repeated, and may take long to separate two that are close. Another random start, orthogonal to
    the Ritz vectors found, sees what they left out. It takes few iterations, because only an upper
    bound below the requested values is needed. What it finds above them joins the block, and the
    search begins again in the complement of all.

    Args:
        A: The matrix or operator.
        block: Ritz vectors of the largest eigenvalues that a first Krylov space found.
        highest: Upper bound of the largest eigenvalue.
        count: Number of requested eigenvalues.
        limits: Returns the errors that are small enough for some values.
        iterations: Maximum number of products with A.
        start: Returns Gaussian vector number 0, 1, ….
        risk: Largest probability that an error is too small.

    Raises:
        FloatingPointError: If A v is not finite.
    """
    products, rounds, rest = 0, 0, inf
    while True:
        errors = _errors(block, highest, rest)
        left = A.shape[0] - len(block.values)
        if left == 0 or products >= iterations or _within(errors, limits(block.values), count):
            return Completed(block, errors if left else torch.zeros_like(errors), products)
        scale = block.values.abs().max().item()
        space = Tridiagonalization(A, start=start(rounds), outside=block.vectors, scale=scale)

        def enough(rest: float, block: RitzBlock = block) -> bool:
            return _within(_errors(block, highest, rest), limits(block.values), count)

        rounds += 1
        most = min(left, iterations - products)
        matrix, rest = _searched(space, left, most, limits, enough, risk / 2**rounds)
        products += matrix.size
        if enough(rest):
            return Completed(block, _errors(block, highest, rest), products)
        values, residuals, rotation = matrix.ritz()
        settled = int(torch.cumprod((residuals <= limits(values)).int(), 0).sum())
        keep = max(1, settled, min(count - len(block.values), len(values)))
        block = block.joined(
            values[:keep],
            space.vectors(rotation[:, :keep]),
            space.couplings(matrix.size) @ rotation[:, :keep],
            torch.linalg.vector_norm(residuals[:keep]).item(),
        )


def _searched(
    space: Tridiagonalization,
    dimension: int,
    most: int,
    limits: Callable[[Tensor], Tensor],
    enough: Callable[[float], bool],
    risk: float,
) -> tuple[Tridiagonal, float]:
    """Grow a space until the bound of its largest eigenvalue is low enough, or that is found."""
    for size in range(1, most + 1):
        if size % CHECK_EVERY and size < most and not space.first(size).invariant:
            continue
        matrix = space.first(size)
        values, residuals, _ = matrix.ritz()
        distance = beyond(matrix, values, dimension, risk=risk)
        bound = values[0].item() + distance
        found = max(distance, residuals[0].item()) <= limits(values[:1]).item()
        if found or enough(bound):
            break
    return matrix, bound


def _errors(block: RitzBlock, highest: float, rest: float) -> Tensor:
    """Return by how much each value can be too small, if the complement is at most ``rest``."""
    return torch.tensor(
        [min(highest - v, above(v, rest, block.coupling)) for v in block.values.tolist()],
        dtype=torch.float64,
    ).clamp_min(0)


def _within(errors: Tensor, limits: Tensor, count: int) -> bool:
    return len(errors) >= count and bool((errors <= limits)[:count].all())
