"""Options of optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from orchestrator.study.options import BuiltIn, CustomOptions, OneOf


class BuiltInOptimizer(BuiltIn):
    """Base of the options of every built-in optimizer, each of which has a ``learning_rate``."""

    if TYPE_CHECKING:
        learning_rate: float


class CustomOptimizer(CustomOptions):
    """A callable ``(parameters, lr=…, **arguments)`` that returns a ``torch.optim.Optimizer``."""

    learning_rate: PositiveFloat = 0.1


OptimizerOptions = Annotated[BuiltInOptimizer | CustomOptimizer, OneOf("optimizers")]


class SgdOptions(BuiltInOptimizer):
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


class AdamwOptions(BuiltInOptimizer):
    """AdamW (arXiv:1711.05101)."""

    name: Literal["adamw"]
    learning_rate: PositiveFloat = 0.001
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01


class SamOptions(BuiltInOptimizer):
    """Sharpness-aware minimization (arXiv:2010.01412) around SGD."""

    name: Literal["sam"]
    rho: PositiveFloat = Field(0.05, description="Radius of the ascent step.")
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0


class AsamOptions(BuiltInOptimizer):
    """Adaptive SAM (arXiv:2102.11600) around SGD: the ascent step is scaled by ``|w| + eta``."""

    name: Literal["asam"]
    rho: PositiveFloat = Field(0.5, description="Radius of the ascent step, in units of |w|.")
    eta: NonNegativeFloat = Field(0.01, description="Keeps the scale of zero weights above 0.")
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0
