"""Stochastic Lanczos quadrature: the density of the eigenvalues of a symmetric operator.

A start vector v of unit length weighs each eigenvalue of A by (vᵀq_k)², with q_k its eigenvector.
Gauss quadrature of that measure needs no eigenvalue of A: m steps of the Lanczos process give a
tridiagonal T = S diag(θ) Sᵀ, and

    Σ_k (vᵀq_k)² f(λ_k) = vᵀ f(A) v ≈ Σ_j τ_j f(θ_j),   τ_j = S_1j²,

exactly for polynomials f up to degree 2m − 1 (Golub and Welsch 1969, 10.2307/2004418). Over
random v with E v vᵀ = I/P the mean of the left side is 1/P Σ_k f(λ_k), the mean over eigenvalues
(Ubaru, Chen and Saad 2017, 10.1137/16M1104974).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from orchestrator.measures.curvature.krylov import Tridiagonalization


@dataclass(frozen=True)
class Quadrature:
    """What one start vector tells of the spectrum.

    Attributes:
        nodes: θ, ascending, shape ``(m,)``, float64.
        weights: τ ≥ 0, which sum to 1, shape ``(m,)``, float64.
    """

    nodes: Tensor
    weights: Tensor

    def moment(self, order: int) -> float:
        """vᵀ A^order v for the start vector v of unit length; exact below order 2m."""
        return float(self.weights @ self.nodes**order)


def lanczos_quadrature(space: Tridiagonalization, iterations: int) -> Quadrature:
    """The quadrature of the start vector of a Krylov space.

    Args:
        space: The Krylov space of A, which is made larger where necessary.
        iterations: Most products with A: fewer where the vector lies in a smaller invariant
            subspace, whose quadrature is exact for every f.

    Raises:
        FloatingPointError: If A v isn't finite.
    """
    nodes, vectors = space.first_block(min(iterations, space.dimension)).eigensystem()
    return Quadrature(nodes, vectors[0].square())


@dataclass(frozen=True)
class SmoothedDensity:
    """A density of eigenvalues at points of a grid, averaged over start vectors.

    Attributes:
        grid: Evenly spaced, shape ``(points,)``, float64.
        values: Share of eigenvalues per unit of eigenvalue; integrates to 1.
        standard_errors: Of ``values``, from their spread over start vectors.
        width: Standard deviation of the Gaussian that stands for each eigenvalue.
    """

    grid: Tensor
    values: Tensor
    standard_errors: Tensor
    width: float


def smoothed_density(
    quadratures: Sequence[Quadrature], *, points: int = 256, relative_width: float = 0.01
) -> SmoothedDensity | None:
    """Mean over start vectors of Σ_j τ_j N(t; θ_j, σ²), σ relative to the range of all θ.

    Args:
        quadratures: One for each start vector, at least two.
        points: Of the grid, which reaches five σ beyond the outermost θ.
        relative_width: σ over the difference of the largest and the smallest θ.

    Returns:
        None if all θ are equal up to rounding: a single point has no density.
    """
    nodes = torch.cat([quadrature.nodes for quadrature in quadratures])
    lowest, highest = nodes.min().item(), nodes.max().item()
    if highest - lowest <= 1e-12 * max(abs(lowest), abs(highest)):
        return None
    width = relative_width * (highest - lowest)
    grid = torch.linspace(lowest - 5 * width, highest + 5 * width, points, dtype=torch.float64)
    each = torch.stack([_smooth(q, grid.to(nodes.device), width) for q in quadratures])
    errors = each.std(0) / sqrt(len(each))
    return SmoothedDensity(grid, each.mean(0).cpu(), errors.cpu(), width)


def _smooth(quadrature: Quadrature, grid: Tensor, width: float) -> Tensor:
    distances = (grid[:, None] - quadrature.nodes) / width
    return (-0.5 * distances.square()).exp() @ quadrature.weights / (width * sqrt(2 * pi))
