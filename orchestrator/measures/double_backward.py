"""Hessian products of any network, by differentiating its gradient: ∇⟨∇L, v⟩ (Pearlmutter 1994)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from orchestrator.measures.derivatives import gradients, require_second_derivatives


class DoubleBackward:
    """The gradient of a scalar with its graph.

    Args:
        scalar: The scalar, with its graph.
        parameters: The tensors to differentiate with respect to.

    Attributes:
        gradient: The flat gradient, detached.

    Raises:
        MeasureError: If PyTorch lacks a derivative.
    """

    def __init__(self, scalar: Tensor, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._parts = gradients([scalar], None, parameters, create_graph=True)
        self._checked = False
        self.gradient = _flat(self._parts).detach()

    def hessian(self, rows: Tensor) -> Tensor:
        """Return H v for each row v of ``rows``, shape ``(k, n)``, one at a time.

        Raises:
            MeasureError: If an operation has no second derivative.
        """
        if not self._checked:
            require_second_derivatives(self._parts)
            self._checked = True
        return torch.stack([self._product(row) for row in rows])

    def _product(self, vector: Tensor) -> Tensor:
        vectors = torch.split(vector, [parameter.numel() for parameter in self._parameters])
        pairs = zip(self._parts, vectors, strict=True)
        used = [(part, v.view_as(part)) for part, v in pairs if part.requires_grad]
        outputs, along = [part for part, _ in used], [v for _, v in used]
        return _flat(gradients(outputs, along, self._parameters, retain_graph=True))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
