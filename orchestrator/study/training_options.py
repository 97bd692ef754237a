"""Training options: loss, optimizer, schedule and stopping rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from orchestrator.study.options import CustomOptions, Options, component_tag, name_to_mapping


class CrossEntropyOptions(Options):
    """Softmax cross-entropy, in nats."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class MseOptions(Options):
    """Squared error between logits and one-hot labels, averaged over classes."""

    name: Literal["mse"]


class MultiMarginOptions(Options):
    """Multi-class hinge loss on the logits, ``Σ_j max(0, margin − z_y + z_j)^p / C``."""

    name: Literal["multi_margin"]
    margin: PositiveFloat = 1.0
    p: Literal[1, 2] = 1


def _loss_tag(value: Any) -> str | None:
    return component_tag(value, "losses")


LossOptions = Annotated[
    Annotated[CrossEntropyOptions, Tag("cross_entropy")]
    | Annotated[MseOptions, Tag("mse")]
    | Annotated[MultiMarginOptions, Tag("multi_margin")]
    | Annotated[CustomOptions, Tag("custom")],
    Discriminator(_loss_tag),
    BeforeValidator(name_to_mapping),
]


class SgdOptions(Options):
    """Stochastic gradient descent, with momentum as PyTorch defines it."""

    name: Literal["sgd"] = "sgd"
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SgdOptions:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0")
        return self


class AdamwOptions(Options):
    """AdamW (arXiv:1711.05101)."""

    name: Literal["adamw"]
    learning_rate: PositiveFloat = 0.001
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01


class SamOptions(Options):
    """Sharpness-aware minimization (arXiv:2010.01412) around SGD."""

    name: Literal["sam"]
    rho: PositiveFloat = Field(0.05, description="Radius of the ascent step.")
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0


class AsamOptions(Options):
    """Adaptive SAM (arXiv:2102.11600) around SGD: the ascent step is scaled by ``|w| + eta``."""

    name: Literal["asam"]
    rho: PositiveFloat = Field(0.5, description="Radius of the ascent step, in units of |w|.")
    eta: NonNegativeFloat = Field(0.01, description="Keeps the scale of zero weights above 0.")
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0


def _optimizer_tag(value: Any) -> str | None:
    return component_tag(value, "optimizers")


class CustomOptimizer(CustomOptions):
    """A callable ``(parameters, lr=…, **arguments)`` that returns a ``torch.optim.Optimizer``."""

    learning_rate: PositiveFloat = 0.1


OptimizerOptions = Annotated[
    Annotated[SgdOptions, Tag("sgd")]
    | Annotated[AdamwOptions, Tag("adamw")]
    | Annotated[SamOptions, Tag("sam")]
    | Annotated[AsamOptions, Tag("asam")]
    | Annotated[CustomOptimizer, Tag("custom")],
    Discriminator(_optimizer_tag),
    BeforeValidator(name_to_mapping),
]


class _Schedule(Options):
    warmup_epochs: NonNegativeFloat = Field(0.0, description="Epochs of linear warm-up from 0.")


class ConstantSchedule(_Schedule):
    """The same learning rate throughout (after warm-up)."""

    name: Literal["constant"] = "constant"


class CosineSchedule(_Schedule):
    """Half a cosine from the learning rate down to ``final`` times it at the end of training."""

    name: Literal["cosine"]
    final: float = Field(0.0, ge=0, le=1, description="Learning rate at the end, as a fraction.")


class StepSchedule(_Schedule):
    """Multiply the learning rate by ``factor`` at each of ``epochs``."""

    name: Literal["step"]
    epochs: tuple[PositiveFloat, ...] = Field(min_length=1)
    factor: float = Field(0.1, gt=0, lt=1)


def _schedule_tag(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    return name if isinstance(name, str) else None


ScheduleOptions = Annotated[
    Annotated[ConstantSchedule, Tag("constant")]
    | Annotated[CosineSchedule, Tag("cosine")]
    | Annotated[StepSchedule, Tag("step")],
    Discriminator(_schedule_tag),
    BeforeValidator(name_to_mapping),
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
    def _cosine_has_an_end(self) -> TrainingOptions:
        if isinstance(self.schedule, CosineSchedule) and not (
            self.stop.epochs or self.stop.updates
        ):
            raise ValueError("schedule cosine needs a known end: stop.epochs or stop.updates")
        return self
