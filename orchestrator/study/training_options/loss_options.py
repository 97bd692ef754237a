"""Options of training losses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from orchestrator.study.options import BuiltIn, CustomOptions, OneOf


class BuiltInLoss(BuiltIn):
    """Base of the options of every built-in loss."""


LossOptions = Annotated[BuiltInLoss | CustomOptions, OneOf("losses")]


class CrossEntropyOptions(BuiltInLoss):
    """Softmax cross-entropy, in nats."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class MseOptions(BuiltInLoss):
    """Squared error between logits and one-hot labels, averaged over classes."""

    name: Literal["mse"]


class MultiMarginOptions(BuiltInLoss):
    """Multi-class hinge loss on the logits, ``Σ_j max(0, margin − z_y + z_j)^p / C``."""

    name: Literal["multi_margin"]
    margin: PositiveFloat = 1.0
    p: Literal[1, 2] = 1
