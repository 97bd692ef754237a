"""Losses whose derivatives are known: linear and quadratic in the parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures.context import MeasureContext


class LinearLoss:
    """The true logit: linear in the parameters of a linear network."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.gather(1, labels[:, None])[:, 0]


class QuadraticLoss:
    """½ Σ_c z_c²: ½ θᵀHθ for a linear network without bias."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.square().sum(1) / 2


def quadratic_context(seed: int = 0) -> tuple[MeasureContext, Tensor]:
    """A context with L(θ) = ½ θᵀHθ, and H: 1/n XᵀX for each of two outputs."""
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(seed))
    y = torch.zeros(12, dtype=torch.int64)
    data = Dataset("quadratic", x, y, x[:1], y[:1], 2, "hash")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Linear(4, 2, bias=False)
    gram = x.double().T @ x.double() / len(x)
    return MeasureContext(model, data, QuadraticLoss()), torch.block_diag(gram, gram)
