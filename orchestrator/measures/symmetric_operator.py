"""Symmetric matrices that are known only by their products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class SymmetricOperator:
    """A symmetric matrix A that is multiplied by ``A @ v`` but never formed.

    ``A @ v`` has shape ``(n,)`` for v of shape ``(n,)``, and ``A @ V`` shape ``(n, k)`` for V of
    shape ``(n, k)``, one product per column. Use a dense tensor instead if A fits in memory.

    A column's product depends on the other columns by rounding only, and not at all without
    ``rows``. Equal matrices give equal bits.

    Args:
        product: v ↦ A v for vectors of shape ``(n,)``.
        size: n.
        dtype: Precision of the vectors and the products.
        device: Device of both.
        rows: V ↦ V A for matrices of shape ``(k, n)``, one product per row, if several are cheaper
            together; it limits its own memory.

    >>> operator = SymmetricOperator(lambda v: 2 * v, 3)
    >>> (operator @ torch.ones(3, 2, dtype=torch.float64)).sum().item()
    12.0
    """

    product: Callable[[Tensor], Tensor]
    size: int
    dtype: torch.dtype = torch.float64
    device: torch.device = _CPU
    rows: Callable[[Tensor], Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Size of A, ``(n, n)``."""
        return self.size, self.size

    def __matmul__(self, other: Tensor) -> Tensor:
        if other.ndim not in (1, 2) or len(other) != self.size:
            raise ValueError(
                f"an operator of shape {self.shape} multiplies tensors of shape ({self.size},) or "
                f"({self.size}, k), got {tuple(other.shape)}"
            )
        if other.ndim == 1:
            return self.product(other)
        if self.rows is not None and other.shape[1] > 1:
            return self.rows(other.T.contiguous()).T
        products = torch.empty_like(other)
        for place, column in enumerate(other.unbind(1)):
            products[:, place] = self.product(column.contiguous())
        return products


SymmetricMatrix = Tensor | SymmetricOperator
"""A symmetric matrix as estimators take it, dense or as an operator."""
