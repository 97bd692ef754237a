"""Half a cosine, down to the end of training."""

from __future__ import annotations

import math
from functools import partial

from orchestrator.registry import builds
from orchestrator.study.training_options.schedule_options import CosineSchedule
from orchestrator.training.schedules.base import LearningRateFactor, warm


@builds(CosineSchedule)
def build_cosine(
    options: CosineSchedule, updates_per_epoch: int, last_update: float
) -> LearningRateFactor:
    """Return the factor of Loshchilov and Hutter (arXiv:1608.03983, equation 5) without restarts.

    From the last of w warm-up updates on, it is ``final`` + (1 − ``final``) times
    (1 + cos(π (k − w) / (T − w))) / 2 for update k of T.
    """
    warmup = options.warmup_epochs * updates_per_epoch
    return partial(_cosine, warmup, max(last_update - warmup, 1), options.final)


def _cosine(warmup: float, length: float, final: float, update: int) -> float:
    progress = min(max(update - warmup, 0) / length, 1.0)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return warm(warmup, update) * (final + (1 - final) * cosine)
