"""Options of learning-rate schedules."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from orchestrator.study.options import BuiltIn, OneOf


class BuiltInSchedule(BuiltIn):
    """Base of the options of every schedule.

    Attributes:
        needs_end: Whether the schedule depends on the number of updates in the whole training.
    """

    needs_end: ClassVar[bool] = False
    warmup_epochs: NonNegativeFloat = Field(0.0, description="Epochs of linear warm-up from 0.")


ScheduleOptions = Annotated[BuiltInSchedule, OneOf()]


class ConstantSchedule(BuiltInSchedule):
    """The same learning rate throughout (after warm-up)."""

    name: Literal["constant"] = "constant"


class CosineSchedule(BuiltInSchedule):
    """Half a cosine from the learning rate down to ``final`` times it at the end of training."""

    needs_end: ClassVar[bool] = True
    name: Literal["cosine"]
    final: float = Field(0.0, ge=0, le=1, description="Learning rate at the end, as a fraction.")


class StepSchedule(BuiltInSchedule):
    """Multiply the learning rate by ``factor`` at each of ``epochs``."""

    name: Literal["step"]
    epochs: tuple[PositiveFloat, ...] = Field(min_length=1)
    factor: float = Field(0.1, gt=0, lt=1)
