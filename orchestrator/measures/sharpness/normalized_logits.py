"""A loss that does not depend on the scale of the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.measures.margins.output_margins import LOGIT_NORM_FLOOR
from orchestrator.measures.precise_loss import PerExampleLoss


class NormalizedLogits:
    """A loss of the normalized logits (z − z̄) / ‖z − z̄‖₂ of each example.

    It does not change when all logits are scaled by c > 0, or when a number is added to all
    logits of an example (Andriushchenko et al., arXiv:2302.07011, whose published code centers
    and divides in this way). The norm is at least 1e-10.

    Args:
        loss: The loss to apply to the normalized logits.
    """

    def __init__(self, loss: PerExampleLoss) -> None:
        self._loss = loss

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each example, shape ``(n,)``, from logits ``(n, classes)``."""
        centered = logits - logits.mean(1, keepdim=True)
        norms = torch.linalg.vector_norm(centered, dim=1, keepdim=True)
        return self._loss.per_example(centered / norms.clamp_min(LOGIT_NORM_FLOOR), labels)
