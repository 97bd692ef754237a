"""Squared error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from orchestrator.registry import builds
from orchestrator.study.training_options.loss_options import MseOptions
from orchestrator.training.losses.base import Loss, reads_only


@builds(MseOptions)
def build_mse(options: MseOptions) -> Loss:
    """Return the squared error."""
    del options
    return Loss(squared_error)


@reads_only
def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the squared distance of logits to one-hot labels, averaged over classes.

    The logits have shape ``(n, classes)``.

    Returns:
        ``Σ_c (z_c − [c = y])² / C``, of shape ``(n,)``.
    """
    one_hot = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return (logits - one_hot).square().mean(dim=1)
