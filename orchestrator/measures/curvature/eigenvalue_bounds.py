"""Bounds of extreme eigenvalues that hold for nearly every random start of the Lanczos process.

A small residual proves that some eigenvalue is near, not that it is the largest. What bounds the
largest is the start vector b: if it is Gaussian, |bᵀx| / ‖b‖ for the eigenvector x of λ_1 is below
ε = δ √(π / 2n) with a probability of at most δ. The Lanczos vectors are v_m+1 = p_m(A) v_1 with

    p_m(t) = Π_i (t − θ_i) / β_i,

the θ_i being the Ritz values. Since v_m+1 has length 1, |xᵀv_1| p_m(λ_1) ≤ 1. Thus λ_1 ≤ t for the
t > θ_1 with p_m(t) = 1/ε (van Dorsselaer, Hochstenbach and van der Vorst 2000,
10.1137/S0895479898339347), for all m together, hence for every rule of when to stop. Bounds known
before the run (Kuczyński and Woźniakowski 1992, 10.1137/0613066) are several times wider.
"""

from __future__ import annotations

from math import hypot, inf, log, pi, sqrt

import torch
from torch import Tensor

from orchestrator.measures.curvature.krylov import Tridiagonal


def beyond(matrix: Tridiagonal, ritz: Tensor, dimension: int, *, risk: float) -> float:
    """Return how far λ_1 can be above the largest Ritz value, except with probability ``risk``.

    Args:
        matrix: T of a Krylov space whose start vector was Gaussian.
        ritz: Its Ritz values, shape ``(m,)``; negated for the smallest eigenvalue, which then
            can be that far below the smallest Ritz value.
        dimension: Number n of eigenvalues, including those not found.
        risk: δ.

    Returns:
        A distance; 0 if the space is invariant, as it then contains eigenvectors of every
        eigenvalue (with probability 1).
    """
    if matrix.invariant:
        return 0.0
    distances = ritz.max() - ritz
    needed = sum(map(log, matrix.betas)) - log(risk * sqrt(pi / (2 * dimension)))

    def reaches(distance: float) -> bool:
        return bool((distances + distance).log().sum().item() >= needed)

    size = max(map(abs, [*ritz.tolist(), *matrix.betas]))
    high: float = max(torch.finfo(torch.float64).eps * size, 5e-324)
    while not reaches(high):
        high *= 2
    low = high / 2
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def above(value: float, rest: float, coupling: float) -> float:
    """Return by how much the largest eigenvalue of [[a, c], [c, b]] exceeds a.

    This bounds the j-th largest eigenvalue of A: let Y be orthonormal with Yᵀ A Y = diag(θ), and
    c ≥ ‖A Y − Y Yᵀ A Y‖. By the theorem of Courant and Fischer, λ_j is at most the largest value of
    A on the complement of the first j − 1 columns, where A is at most [[θ_j, c], [c, b]] if it is
    at most b on the complement of all of Y.

    Args:
        value: a.
        rest: b; −∞ for an empty complement.
        coupling: c.
    """
    if rest == -inf:
        return 0.0
    half = (rest - value) / 2
    if half > 0:
        return half + hypot(half, coupling)
    return coupling * (coupling / (hypot(half, coupling) - half)) if coupling else 0.0
