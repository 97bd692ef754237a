"""Learning-rate schedules: the factor of the learning rate at each update."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator.registry import builder_of, import_files
from orchestrator.training.schedules.base import LearningRateFactor

if TYPE_CHECKING:
    from orchestrator.study.training_options import ScheduleOptions, StopOptions

import_files(__package__)


def learning_rate_factor(
    options: ScheduleOptions, updates_per_epoch: int, last_update: float
) -> LearningRateFactor:
    """Build the function from the number of updates made to the factor of the learning rate.

    Args:
        options: The ``training.schedule`` part of a study file.
        updates_per_epoch: Updates in one epoch.
        last_update: Updates in the whole training; infinite if neither epochs nor updates bound it.
    """
    factor: LearningRateFactor = builder_of(options)(options, updates_per_epoch, last_update)
    return factor


def last_update(stop: StopOptions, updates_per_epoch: int) -> float:
    """Return the update at which ``stop.epochs`` or ``stop.updates`` ends training, or infinity."""
    return min(stop.updates or math.inf, (stop.epochs or math.inf) * updates_per_epoch)
