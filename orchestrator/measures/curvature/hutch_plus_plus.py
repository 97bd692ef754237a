"""Hutch++: a trace by projection on a sketch of the range, and probes for the rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from orchestrator.measures.curvature.hutchinson import TraceEstimate, hutchinson

FEWEST_PRODUCTS = 6


def hutch_plus_plus(
    matvec: Callable[[Tensor], Tensor],
    probe: Callable[[int], Tensor],
    *,
    products: int = 256,
) -> TraceEstimate:
    """Estimate tr A = tr(QᵀAQ) + tr((I − QQᵀ) A (I − QQᵀ)).

    A third of the products with A makes Q, an orthonormal basis of A S for random S; a third
    gives the first term exactly, and the rest is Hutchinson's estimate of the second. Given Q
    that is unbiased, and so is the whole; the standard error is that of the last part alone.
    The variance falls as 1/products² for positive semi-definite A where Hutchinson's falls as
    1/products (Meyer, Musco, Musco and Woodruff, arXiv:2010.09649, algorithm 1), but a sketch
    of few columns wastes two thirds of the products: with eigenvalues that decay slowly, or
    fewer products than a few times the effective rank, it is the worse of the two.

    Memory: ``products`` / 3 vectors of A's size, in float64.

    Args:
        matvec: v ↦ A v, A symmetric.
        probe: The random vector of an index from 0; independent entries ±1.
        products: With A, in all; at least 6.

    Raises:
        ValueError: If ``products`` is below 6, which leaves no standard error.
    """
    if products < FEWEST_PRODUCTS:
        raise ValueError(f"Hutch++ needs at least {FEWEST_PRODUCTS} products, got {products}")
    columns = min(products // 3, len(probe(0)))
    sketch = torch.stack([matvec(probe(index)).to(torch.float64) for index in range(columns)], 1)
    if not sketch.isfinite().all():
        return TraceEstimate(torch.nan, torch.nan, columns)
    basis, _ = torch.linalg.qr(sketch)
    dtype = probe(0).dtype
    inside = [torch.dot(q, matvec(q.to(dtype)).to(torch.float64)).item() for q in basis.unbind(1)]

    def outside(vector: Tensor) -> Tensor:
        vector = vector.to(torch.float64)
        return torch.addmv(vector, basis, basis.T @ vector, alpha=-1)

    rest = hutchinson(
        lambda vector: outside(matvec(outside(vector).to(dtype))),
        lambda index: probe(columns + index).to(torch.float64),
        probes=products - 2 * columns,
    )
    return TraceEstimate(sum(inside) + rest.value, rest.standard_error, products)
