"""The same learning rate throughout."""

from __future__ import annotations

from functools import partial

from orchestrator.registry import builds
from orchestrator.study.training_options.schedule_options import ConstantSchedule
from orchestrator.training.schedules.base import LearningRateFactor, warm


@builds(ConstantSchedule)
def build_constant(
    options: ConstantSchedule, updates_per_epoch: int, last_update: float
) -> LearningRateFactor:
    """Return the factor 1, after warm-up."""
    del last_update
    return partial(warm, options.warmup_epochs * updates_per_epoch)
