"""Training options: loss, optimizer, schedule and stopping rule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from orchestrator.study.options import Options
from orchestrator.study.training_options.loss_options import (
    CrossEntropyOptions,
    LossOptions,
    MseOptions,
    MultiMarginOptions,
)
from orchestrator.study.training_options.optimizer_options import (
    CustomOptimizer,
    OptimizerOptions,
    SgdOptions,
)
from orchestrator.study.training_options.schedule_options import ConstantSchedule, ScheduleOptions

__all__ = [
    "ConstantSchedule",
    "CrossEntropyOptions",
    "CustomOptimizer",
    "LossOptions",
    "MseOptions",
    "MultiMarginOptions",
    "OptimizerOptions",
    "ScheduleOptions",
    "SgdOptions",
    "StopOptions",
    "TrainingOptions",
]


class StopOptions(Options):
    """Bounds of training, which ends at the first one reached."""

    epochs: PositiveInt | None = None
    updates: PositiveInt | None = None
    seconds: PositiveFloat | None = Field(None, description="Seconds spent in updates.")
    train_loss: PositiveFloat | None = Field(
        None, description="Loss over the whole training split, in eval mode."
    )

    @model_validator(mode="after")
    def _bounded(self) -> StopOptions:
        if self.epochs is None and self.updates is None and self.seconds is None:
            raise ValueError("set epochs, updates or seconds too: train_loss may never be reached")
        return self


class TrainingOptions(Options):
    """Options for training one network."""

    loss: LossOptions = CrossEntropyOptions()
    batch_size: PositiveInt = 64
    optimizer: OptimizerOptions = SgdOptions()
    schedule: ScheduleOptions = ConstantSchedule()
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none", description="Growth of the learning rate with batch_size / reference_batch_size."
    )
    reference_batch_size: PositiveInt = 256
    augmentation: tuple[Literal["flip", "crop"], ...] = ()
    stop: StopOptions

    @model_validator(mode="after")
    def _schedule_has_an_end(self) -> TrainingOptions:
        if self.schedule.needs_end and not (self.stop.epochs or self.stop.updates):
            raise ValueError(
                f"schedule {self.schedule.name} needs a known end: stop.epochs or stop.updates"
            )
        return self
