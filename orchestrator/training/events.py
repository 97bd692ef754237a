"""Events that training yields: checkpoints, ends of epochs and the end; and the resume state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

StopReason = Literal["epochs", "updates", "seconds", "train_loss", "diverged"]


@dataclass(frozen=True)
class Checkpoint:
    """A network worth measuring. Each step has at most one; they are yielded in order of steps.

    All losses and errors are over the whole split, in eval mode; errors are in [0, 1].

    Attributes:
        step: Updates made so far.
        epoch: Examples seen, as a multiple of the size of the training split.
        examples_seen: Training examples used by the updates so far, counting repetitions.
        reasons: One or more of ``epoch``, ``update``, ``train_loss 0.1`` (the milestone reached)
            and ``final``.
        milestones: The train-loss milestones reached here, highest first.
        train_loss: Mean of the training loss (including label smoothing, for example).
        train_error: Share of examples whose highest logit belongs to another class.
        test_loss: As ``train_loss``.
        test_error: As ``train_error``.
        state: The network's state dict, copied to the CPU.
    """

    step: int
    epoch: float
    examples_seen: int
    reasons: tuple[str, ...]
    milestones: tuple[float, ...]
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float
    state: dict[str, Tensor]


@dataclass(frozen=True)
class ResumeState:
    """The state from which an interrupted trial resumes as if it had not been interrupted.

    It describes the end of an epoch completely, because random streams restart with each epoch.

    Attributes:
        trial_id: Trial that the state belongs to.
        epoch: Completed epochs.
        step: Updates made.
        train_seconds: Time spent in updates so far.
        evaluation_seconds: Time spent in evaluations so far.
        lowest_train_loss: Lowest end-of-epoch train loss so far; milestones above it are done.
        stop_reason: Why training ended here; None if it continues.
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


@dataclass(frozen=True)
class EpochEnd:
    """The end of a whole epoch, yielded after the checkpoints within it.

    Attributes:
        epoch: Completed epochs; 0 is before the first update.
        step: Updates made so far.
        examples_seen: Training examples used by the updates so far, counting repetitions.
        seconds: Time spent in updates so far.
        learning_rate: Learning rate of the last update, or of the first if none was made yet.
        train_loss: As in :class:`Checkpoint`.
        train_error: As in :class:`Checkpoint`.
        test_loss: As in :class:`Checkpoint`.
        test_error: As in :class:`Checkpoint`.
        resume: Returns the state from which another process can resume here. It must be called
            before the next event is requested.
    """

    epoch: int
    step: int
    examples_seen: int
    seconds: float
    learning_rate: float
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float
    resume: Callable[[], ResumeState]


@dataclass(frozen=True)
class Finished:
    """The end of training; always the last event.

    Attributes:
        stop_reason: The stopping rule that ended training, or ``diverged`` if the training loss
            or a parameter was no longer finite at the end of an epoch.
        epochs: Examples seen, as a multiple of the size of the training split.
        updates: Updates made.
        examples_seen: Training examples used by the updates, counting repetitions.
        train_seconds: Time spent in updates, without those replayed to find a milestone.
        evaluation_seconds: Time spent in evaluations and in replaying updates.
    """

    stop_reason: StopReason
    epochs: float
    updates: int
    examples_seen: int
    train_seconds: float
    evaluation_seconds: float


Event = Checkpoint | EpochEnd | Finished
