"""Learning-rate schedules: the factor of the learning rate at each update."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.study.training_options import ConstantSchedule, CosineSchedule, StepSchedule

if TYPE_CHECKING:
    from orchestrator.study.training_options import ScheduleOptions, StopOptions

LearningRateFactor = Callable[[int], float]


def learning_rate_factor(
    options: ScheduleOptions, updates_per_epoch: int, last_update: float
) -> LearningRateFactor:
    """Build the function from the number of updates made to the factor of the learning rate.

    With w warm-up updates and T updates in total, the factor of update k (counted from 0) is

    - warm-up: min(1, (k + 1) / w) times
    - constant: 1
    - cosine: ``final`` + (1 − ``final``) (1 + cos(π (k − w) / (T − w))) / 2 from update w on,
      as in Loshchilov and Hutter (arXiv:1608.03983, equation 5) without restarts
    - step: ``factor`` to the power of the number of ``epochs`` that have passed

    Args:
        options: The ``training.schedule`` part of a study file.
        updates_per_epoch: Updates in one epoch.
        last_update: T; infinite if neither epochs nor updates bound training.
    """
    warmup = options.warmup_epochs * updates_per_epoch
    match options:
        case ConstantSchedule():
            return partial(_warm, warmup) if warmup else _constant
        case CosineSchedule(final=final):
            return partial(_cosine, warmup, max(last_update - warmup, 1), final)
        case StepSchedule(epochs=epochs, factor=factor):
            starts = tuple(epoch * updates_per_epoch for epoch in epochs)
            return partial(_step, warmup, starts, factor)


def last_update(stop: StopOptions, updates_per_epoch: int) -> float:
    """Return the update at which ``stop.epochs`` or ``stop.updates`` ends training, or infinity."""
    return min(stop.updates or math.inf, (stop.epochs or math.inf) * updates_per_epoch)


def _constant(update: int) -> float:
    del update
    return 1.0


def _warm(warmup: float, update: int) -> float:
    return min(1.0, (update + 1) / warmup) if warmup else 1.0


def _cosine(warmup: float, length: float, final: float, update: int) -> float:
    progress = min(max(update - warmup, 0) / length, 1.0)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return _warm(warmup, update) * (final + (1 - final) * cosine)


def _step(warmup: float, starts: tuple[float, ...], factor: float, update: int) -> float:
    over = sum(update >= start for start in starts)
    return _warm(warmup, update) * factor**over
