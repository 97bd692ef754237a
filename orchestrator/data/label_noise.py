"""Symmetric label noise: a share of the training labels is replaced by other classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from orchestrator.data.stratification import random_keys


def noisy_labels(labels: Tensor, classes: int, share: float, order: Tensor, seed: int) -> Tensor:
    """Replace a share of the labels, evenly along an order.

    The m-th example of ``order`` is relabelled if and only if ``round(share·m)`` increases at m,
    so the first m examples have exactly ``round(share·m)`` wrong labels for every m. Noise is drawn
    once for all examples, and a training subset is a prefix of the order. So smaller subsets are
    contained in larger ones, with the same wrong labels. The new class is uniform among the other
    classes.

    Args:
        labels: Shape ``(n,)``, int64, in ``[0, classes)``.
        classes: Number of classes, at least two.
        share: Share of labels to replace, in ``[0, 1]``.
        order: A permutation of ``0 … n−1``; see
            :func:`~orchestrator.data.stratification.stratified_order`.
        seed: Seed of the new classes.

    Returns:
        New labels, shape ``(n,)``; ``labels`` itself is unchanged.
    """
    total = len(labels)
    steps = np.diff(np.rint(share * np.arange(total + 1)))
    chosen = order[torch.from_numpy(steps > 0)]
    keys = random_keys(seed, "label_noise", total) % np.uint64(classes - 1)
    shift = 1 + torch.from_numpy(keys.astype(np.int64))
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift[chosen]) % classes
    return noisy
