"""XTrace: trace estimation in which every probe is both part of the sketch and a test of the rest.

Epperly, Tropp and Webber, arXiv:2301.07825. With m probes ω_i, uniform in direction, and Q_i an
orthonormal basis of the m − 1 vectors A ω_j, j ≠ i,

    tr_i = tr(Q_iᵀ A Q_i) + ν_iᵀ A ν_i ,   ν_i ∝ (I − Q_i Q_iᵀ) ω_i ,   ‖ν_i‖² = n − m + 1 ,

is unbiased, as ω_i is independent of Q_i. The estimate is the mean of all tr_i.

One factorization A Ω = Q R serves all i: Q_i spans Q without the direction s_i ∝ R⁻ᵀ e_i, as s_i is
orthogonal to all columns of R but the i-th. With H = QᵀAQ, w_i = Qᵀω_i and x_i = w_i − s_i s_iᵀw_i,

    tr(Q_iᵀ A Q_i) = tr H − s_iᵀ H s_i ,   (I − Q_i Q_iᵀ) ω_i = ω_i − Q x_i .

**Standard error.** The tr_i are correlated, because each ω_i is in the sketches of all others. With
s² the sample variance of the tr_i and c the covariance of two of them, the variance of their mean
is E s²/m + c. The paper's estimate, s²/m, omits c; its intervals covered 45 to 95 % in simulations.
Given all probes but i and j, tr_i has mean tr A over ω_i, and so has tr_ij, which leaves out ω_j
as well. Therefore c = E (tr_i − tr_ij) (tr_j − tr_ji), and its mean over all pairs is unbiased. The
basis that leaves out both lacks, beside s_i, the direction u_ij ∝ s_j − s_i s_iᵀs_j.
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import torch
from torch import Tensor

from orchestrator.measures.curvature.hutch_plus_plus import FEWEST_PRODUCTS
from orchestrator.measures.curvature.hutchinson import TraceEstimate, stated_error
from orchestrator.measures.scaling import unit_of
from orchestrator.measures.symmetric_operator import SymmetricMatrix

_ROUNDING = torch.finfo(torch.float64).eps


def xtrace(
    A: SymmetricMatrix, probe: Callable[[int], Tensor], *, products: int = 256
) -> TraceEstimate:
    """Estimate tr A from ``products`` / 2 probes, each used twice.

    The estimate is unbiased. It is exact, up to rounding, if the number of probes exceeds the rank
    of A, or if A is a multiple of the identity. It needs fewer products than Hutch++ for the same
    error, most of all if eigenvalues decay fast. If they decay slowly and products are few,
    Hutchinson is about as good, needs less memory and can stop early.

    The intervals of ±1.96 standard errors cover the trace in 89 to 98 % of simulated cases.

    Memory: twice ``products`` vectors of A's size in float64.

    Args:
        A: The matrix or operator.
        probe: Function from an index (from 0) to a random vector of independent Gaussian entries.
        products: Total number of products with A, at least 6; no more than 2n are used.

    Raises:
        ValueError: If ``products`` is below 6, too few for a standard error.
    """
    if products < FEWEST_PRODUCTS:
        raise ValueError(f"XTrace needs at least {FEWEST_PRODUCTS} products, got {products}")
    n, m = A.shape[0], min(products // 2, A.shape[0])
    omega = torch.stack([probe(index) for index in range(m)], 1)
    Y = (A @ omega).to(torch.float64)
    if not Y.isfinite().all():
        return TraceEstimate(nan, nan, m)
    unit = unit_of([Y.abs().max().item()])
    Y /= unit
    Q, R = torch.linalg.qr(Y)
    H = Q.T @ (A @ Q.to(A.dtype)).to(torch.float64) / unit
    if m == n:
        return TraceEstimate(unit * H.trace().item(), 0.0, 2 * m)
    omega = omega.to(torch.float64)
    S, W = _left_out(R), Q.T @ omega
    X = W - S * (S * W).sum(0)
    Z = R - H @ X  # QᵀA(ω_i − Q x_i)
    forms = (omega * Y).sum(0) - (X * (R + Z)).sum(0)  # of A and ω_i − Q x_i
    squares = omega.square().sum(0) - X.square().sum(0)  # ‖ω_i − Q x_i‖²
    K = S.T @ H @ S
    rest = (n - m + 1) * forms / squares
    estimates = H.trace() - K.diagonal() + rest

    # Rows i, columns j: products of u_ij with w_i, QᵀA(ω_i − Q x_i) and H.
    cosines = S.T @ S
    sines = (1 - cosines.square()).clamp_min(_ROUNDING).sqrt()
    of_w, of_z = ((P - cosines * P.diagonal()[:, None]) / sines for P in (W.T @ S, Z.T @ S))
    k = K.diagonal()
    of_H = (k - 2 * cosines * K + cosines.square() * k[:, None]) / sines.square()
    forms_without = forms[:, None] + 2 * of_w * of_z + of_w.square() * of_H
    squares_without = squares[:, None] + of_w.square()
    changes = of_H + rest[:, None] - (n - m + 2) * forms_without / squares_without
    covariance = (changes * changes.T).fill_diagonal_(0).sum() / (m * (m - 1))
    error = (estimates.var() / m + covariance.clamp_min(0)).sqrt().item()
    return TraceEstimate(unit * estimates.mean().item(), unit * stated_error(error, m - 1), 2 * m)


def _left_out(R: Tensor) -> Tensor:
    """Return the unit vectors s_i ∝ R⁻ᵀe_i as columns.

    Zeros on the diagonal, up to rounding, are moved away from zero: if A ω_i depends on the others,
    leaving it out loses nothing but a direction of rounding.
    """
    d = R.diagonal()
    shift = torch.where(d.abs() < _ROUNDING, torch.full_like(d, _ROUNDING).copysign(d), 0.0)
    identity = torch.eye(len(R), dtype=R.dtype, device=R.device)
    rows: Tensor = torch.linalg.solve_triangular(R + shift.diag(), identity, upper=True)
    return (rows / rows.square().sum(1, keepdim=True).sqrt()).T
