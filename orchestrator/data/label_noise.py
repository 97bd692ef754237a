"""Symmetric label noise: a share of the training labels replaced by another class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from orchestrator.data.stratification import random_keys


def noisy_labels(labels: Tensor, classes: int, share: float, order: Tensor, seed: int) -> Tensor:
    """Replace a share of the labels, evenly along an order.

    The m-th example of ``order`` is relabelled if and only if ``round(share·m)`` steps up
    there. So the first m of the order have exactly ``round(share·m)`` wrong labels, for every
    m: the noise is made once on all examples, a training subset is a beginning of the order,
    and smaller subsets are parts of larger ones with the same wrong labels. The new class is
    uniform among the others.

    Args:
        labels: Shape ``(n,)``, int64, in ``[0, classes)``.
        classes: Number of classes, at least two.
        share: In ``[0, 1]``.
        order: A permutation of ``0 … n−1``; see
            :func:`~orchestrator.data.stratification.stratified_order`.
        seed: Chooses the new classes.

    Returns:
        New labels, shape ``(n,)``; ``labels`` itself is left alone.
    """
    total = len(labels)
    steps = np.diff(np.rint(share * np.arange(total + 1)))
    chosen = order[torch.from_numpy(steps > 0)]
    keys = random_keys(seed, "label_noise", total) % np.uint64(classes - 1)
    shift = 1 + torch.from_numpy(keys.astype(np.int64))
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift[chosen]) % classes
    return noisy
