"""Hutch++: trace estimation by projection on a sketched range, plus probes for the remainder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from orchestrator.measures.curvature.hutchinson import TraceEstimate, hutchinson
from orchestrator.measures.symmetric_operator import SymmetricMatrix, SymmetricOperator

FEWEST_PRODUCTS = 6


def hutch_plus_plus(
    A: SymmetricMatrix,
    probe: Callable[[int], Tensor],
    *,
    products: int = 256,
) -> TraceEstimate:
    """Estimate tr A = tr(QᵀAQ) + tr((I − QQᵀ) A (I − QQᵀ)).

    A third of the products with A yields Q, an orthonormal basis of A S for random S. Another
    third gives the first term exactly, and the rest gives Hutchinson's estimate of the second
    term. That estimate is unbiased given Q, so the sum is unbiased too; the standard error is that
    of the second term only. For positive semi-definite A, the variance decreases as 1/products²,
    compared with 1/products for Hutchinson (Meyer, Musco, Musco and Woodruff, arXiv:2010.09649,
    algorithm 1). A sketch with few columns, however, wastes two thirds of the products: Hutch++ is
    worse than Hutchinson if eigenvalues decay slowly, or if products are fewer than a few times
    the effective rank.

    Memory: ``products`` vectors of A's size in float64.

    Args:
        A: The matrix or operator.
        probe: Function from an index (from 0) to a random vector of independent entries ±1.
        products: Total number of products with A, at least 6.

    Raises:
        ValueError: If ``products`` is below 6, too few for a standard error.
    """
    if products < FEWEST_PRODUCTS:
        raise ValueError(f"Hutch++ needs at least {FEWEST_PRODUCTS} products, got {products}")
    columns = min(products // 3, A.shape[0])
    sketch = (A @ torch.stack([probe(index) for index in range(columns)], 1)).to(torch.float64)
    if not sketch.isfinite().all():
        return TraceEstimate(torch.nan, torch.nan, columns)
    Q, _ = torch.linalg.qr(sketch)
    AQ = (A @ Q.to(A.dtype)).to(torch.float64)
    inside = sum((q @ Aq).item() for q, Aq in zip(Q.T, AQ.T, strict=True))

    def outside(vector: Tensor) -> Tensor:
        return torch.addmv(vector, Q, Q.T @ vector, alpha=-1)

    rest = hutchinson(
        SymmetricOperator(
            lambda v: outside((A @ outside(v).to(A.dtype)).to(torch.float64)), A.shape[0]
        ),
        lambda index: probe(columns + index).to(torch.float64),
        probes=products - 2 * columns,
    )
    return TraceEstimate(inside + rest.value, rest.standard_error, products)
