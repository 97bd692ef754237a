"""Losses of the grammar: PyTorch's own, and some that users write."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def logit_penalty(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with a price on large logits."""
    return F.cross_entropy(logits, labels, reduction="none") + 0.1 * logits.square().sum(1)


def pairwise_logistic(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss that is no function of the softmax."""
    true = logits.gather(1, labels[:, None])
    return F.softplus(logits - true).sum(1)


def margin_writer(logits: Tensor, labels: Tensor) -> Tensor:
    """Writes into its logits, as losses with additive margins do."""
    logits[torch.arange(len(labels)), labels] -= 0.3
    logits.mul_(1.2)
    return F.cross_entropy(logits, labels, reduction="none")


def smoothed(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with label smoothing."""
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=0.2)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Plain cross-entropy."""
    return F.cross_entropy(logits, labels, reduction="none")


def squared(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared distance to one-hot labels, averaged over classes."""
    return (logits - F.one_hot(labels, logits.shape[1])).square().mean(1)
