"""What an interrupted trial needs to go on as if it had not been interrupted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from orchestrator.training.events import StopReason


@dataclass(frozen=True)
class ResumeState:
    """The end of an epoch, complete: random streams begin anew with each epoch.

    Attributes:
        trial_id: Whose state it is.
        epoch: Whole epochs made.
        step: Updates made.
        train_seconds: Spent in updates so far.
        evaluation_seconds: Spent in evaluations so far.
        lowest_train_loss: At the ends of epochs so far; milestones above it are taken.
        stop_reason: Why training ended here; None if it goes on.
        network: Parameters and buffers, on the CPU.
        optimizer: The optimizer's state, with tensors on the CPU.
    """

    trial_id: str
    epoch: int = -1
    step: int = 0
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    lowest_train_loss: float = math.inf
    stop_reason: StopReason | None = None
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
