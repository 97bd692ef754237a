"""What a training run yields: checkpoints, epochs, how to resume it, its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

StopReason = Literal["epochs", "updates", "seconds", "train_loss", "diverged"]


@dataclass(frozen=True)
class Checkpoint:
    """A network worth measuring. There is one per step at most, in the order of steps.

    All losses and errors are over the whole split, in eval mode; errors are in [0, 1].

    Attributes:
        step: Updates made so far.
        epoch: Examples seen, in sizes of the training split.
        examples_seen: Training examples that the updates so far used; repetitions count.
        reason: Parts joined by ``"; "`` out of ``epoch``, ``update``, ``train_loss 0.1``
            (the milestone reached) and ``final``.
        milestones: The train-loss milestones reached here, highest first.
        train_loss: Mean loss that is trained on (with its label smoothing, say).
        train_error: Share of examples whose highest logit is another class's.
        test_loss: As ``train_loss``.
        test_error: As ``train_error``.
        state: The network's state dict, copied to the CPU.
    """

    step: int
    epoch: float
    examples_seen: int
    reason: str
    milestones: tuple[float, ...]
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float
    state: dict[str, Tensor]


@dataclass(frozen=True)
class ResumeState:
    """What an interrupted trial needs to resume as if it had not been interrupted.

    The end of an epoch, complete: random streams start again with each epoch.

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


@dataclass(frozen=True)
class EpochEnd:
    """The end of a whole epoch, told after the checkpoints that lie in it.

    Attributes:
        epoch: Whole epochs made; 0 is before the first update.
        step: Updates made so far.
        examples_seen: Training examples that the updates so far used; repetitions count.
        seconds: Time spent in updates so far.
        learning_rate: Of the last update; of the first one where none was made yet.
        train_loss: As in :class:`Checkpoint`.
        train_error: As in :class:`Checkpoint`.
        test_loss: As in :class:`Checkpoint`.
        test_error: As in :class:`Checkpoint`.
        resume: Gives what is needed to go on from here in another process. To be called
            before the next event is asked for.
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
        stop_reason: Which of the stopping rules ended it, or ``diverged``: the training loss
            or a parameter was no longer finite at the end of an epoch.
        epochs: Examples seen, in sizes of the training split.
        updates: Updates made.
        examples_seen: Training examples that the updates used; repetitions count.
        train_seconds: Time spent in updates; those made again to find a milestone don't count.
        evaluation_seconds: Time spent in evaluations, and in making updates again.
    """

    stop_reason: StopReason
    epochs: float
    updates: int
    examples_seen: int
    train_seconds: float
    evaluation_seconds: float


Event = Checkpoint | EpochEnd | Finished
