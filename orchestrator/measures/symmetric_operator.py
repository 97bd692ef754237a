"""Symmetric matrices that are known only by their products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_CPU = torch.device("cpu")


class SymmetricMatrix(Protocol):
    """The part of a symmetric matrix A that estimators use, dense or as an operator."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of A, ``(n, n)``."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the products, and of the vectors to multiply."""

    @property
    def device(self) -> torch.device:
        """Device of the vectors."""

    def __matmul__(self, other: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class SymmetricOperator:
    """A symmetric matrix A that is multiplied by ``A @ v`` but never formed.

    ``A @ v`` has shape ``(n,)`` for v of shape ``(n,)``, and ``A @ V`` shape ``(n, k)`` for V of
    shape ``(n, k)``, one product per column. Use a dense tensor instead if A fits in memory.

    Args:
        product: v ↦ A v for vectors of shape ``(n,)``.
        size: n.
        dtype: Precision of the vectors and the products.
        device: Device of both.

    >>> operator = SymmetricOperator(lambda v: 2 * v, 3)
    >>> (operator @ torch.ones(3, 2, dtype=torch.float64)).sum().item()
    12.0
    """

    product: Callable[[Tensor], Tensor]
    size: int
    dtype: torch.dtype = torch.float64
    device: torch.device = _CPU

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
        products = torch.empty_like(other)
        for place, column in enumerate(other.unbind(1)):
            products[:, place] = self.product(column.contiguous())
        return products
