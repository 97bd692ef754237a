"""Multi-class hinge loss."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from orchestrator.registry import builds
from orchestrator.study.training_options.loss_options import MultiMarginOptions
from orchestrator.training.losses.base import Loss, reads_only


@builds(MultiMarginOptions)
def build_multi_margin(options: MultiMarginOptions) -> Loss:
    """Return the hinge loss, whose mean is PyTorch's for speed."""
    p, margin = options.p, options.margin
    return Loss(
        partial(multi_margin, p=p, margin=margin),
        partial(F.multi_margin_loss, p=p, margin=margin),
    )


@reads_only
def multi_margin(logits: Tensor, labels: Tensor, *, p: int, margin: float) -> Tensor:
    """Return the multi-class hinge loss, averaged over classes.

    It is that of ``torch.nn.functional.multi_margin_loss``, which lacks the second derivative
    needed to measure curvature.

    Returns:
        ``Σ_{j ≠ y} max(0, margin − z_y + z_j)^p / C``, of shape ``(n,)``.
    """
    true = labels[:, None]
    hinges = F.relu(margin - logits.gather(1, true) + logits).pow(p)
    return hinges.scatter(1, true, 0).mean(dim=1)
