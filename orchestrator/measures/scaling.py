"""Scaling by powers of two, to avoid underflow and overflow in squares.

Confident networks have gradients and curvatures down to 1e-300. Multiplying by a power of two is
exact, so results are bitwise the same whenever no square underflows.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import frexp, isfinite

import torch
from torch import Tensor

_LARGEST_EXPONENT = 1000


def unit_of(values: Iterable[float]) -> float:
    """Return a power of two within a factor of 2 of max |value|; 1 if that is 0 or not finite."""
    largest = max(map(abs, values), default=0.0)
    if largest == 0 or not isfinite(largest):
        return 1.0
    exponent = frexp(largest)[1]
    return float(2.0 ** max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, exponent)))


def norm(vector: Tensor) -> float:
    """Return ‖v‖₂ in float64, without overflow or underflow of the squares."""
    v = vector.detach()
    if not v.numel():
        return 0.0
    if v.dtype == torch.float32:  # Squares of all float32 numbers are within the range of float64.
        return float(torch.linalg.vector_norm(v, dtype=torch.float64).item())
    v = v.to(torch.float64)
    unit = unit_of([v.abs().max().item()])
    return float(unit * torch.linalg.vector_norm(v / unit).item())
