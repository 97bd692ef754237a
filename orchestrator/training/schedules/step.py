"""A learning rate that falls at given epochs."""

from __future__ import annotations

from functools import partial

from orchestrator.registry import builds
from orchestrator.study.training_options.schedule_options import StepSchedule
from orchestrator.training.schedules.base import LearningRateFactor, warm


@builds(StepSchedule)
def build_step(
    options: StepSchedule, updates_per_epoch: int, last_update: float
) -> LearningRateFactor:
    """Return ``factor`` to the power of the number of ``epochs`` that have passed."""
    del last_update
    warmup = options.warmup_epochs * updates_per_epoch
    starts = tuple(epoch * updates_per_epoch for epoch in options.epochs)
    return partial(_step, warmup, starts, options.factor)


def _step(warmup: float, starts: tuple[float, ...], factor: float, update: int) -> float:
    over = sum(update >= start for start in starts)
    return warm(warmup, update) * factor**over
