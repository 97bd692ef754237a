"""The update rule of the parameters at one point of training."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.study.training_options import SgdOptions, TrainingOptions
from orchestrator.study.trials import effective_learning_rate
from orchestrator.training.batches import updates_per_epoch
from orchestrator.training.schedules import last_update, learning_rate_factor


@dataclass(frozen=True)
class UpdateRule:
    """Gradient descent, with momentum as PyTorch defines it.

    Attributes:
        learning_rate: η, with the schedule's factor.
        momentum: β.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Weight decay, part of the gradient as an L2 penalty.
    """

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0


def update_rule_at(training: TrainingOptions, train_examples: int, step: int) -> UpdateRule | None:
    """Return the rule of the update that led to a snapshot, or of the first if none was made yet.

    Args:
        training: Training options of the network.
        train_examples: Size of the training split, which every epoch visits once.
        step: Updates made.

    Returns:
        The rule; None if the network was not trained by plain gradient descent.
    """
    optimizer = training.optimizer
    if not isinstance(optimizer, SgdOptions):
        return None
    epoch = updates_per_epoch(train_examples, training.batch_size)
    factor = learning_rate_factor(training.schedule, epoch, last_update(training.stop, epoch))
    return UpdateRule(
        effective_learning_rate(training) * factor(max(step - 1, 0)),
        optimizer.momentum,
        optimizer.nesterov,
        optimizer.weight_decay,
    )
