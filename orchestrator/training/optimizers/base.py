"""Base classes of optimizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from orchestrator.training.flat_parameters import FlatParameters

Gradient = Callable[[], Tensor]


class Optimizer(ABC):
    """Base class of optimizers, which change parameters one update at a time.

    Attributes:
        values: The tensors that the optimizer changes.
        repeats_gradients: Whether an update may compute the gradient more than once.
    """

    values: list[Tensor]
    repeats_gradients = True

    @abstractmethod
    def zero_gradients(self) -> None:
        """Clear the gradients of the previous update."""

    @abstractmethod
    def update(self, gradient: Gradient, factor: float) -> None:
        """Make one update.

        Args:
            gradient: Computes loss and gradients at the current parameters; may be called
                repeatedly.
            factor: Factor of the learning rate, from the schedule.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state needed to resume: tensors, numbers and containers, not copied."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from a ``state``, which is copied and not modified."""


class FlatOptimizer(Optimizer):
    """An optimizer of flat parameters that needs one gradient per update.

    Working on one tensor, without the bookkeeping of ``torch.optim`` per call, it is faster on
    small networks.

    Args:
        model: The network, already on its device. Its parameters become views of one tensor.
        learning_rate: Effective learning rate, after scaling with the batch size.

    Raises:
        ModelError: If the network has no trainable parameters.
    """

    repeats_gradients = False

    def __init__(self, model: nn.Module, learning_rate: float) -> None:
        self.parameters = FlatParameters(model)
        self.values = [self.parameters.values]
        self.learning_rate = learning_rate

    def zero_gradients(self) -> None:
        """Clear the gradients of the previous update."""
        self.parameters.zero_gradients()

    def update(self, gradient: Gradient, factor: float) -> None:
        """Compute the gradient and apply it."""
        gradient()
        self.apply(factor)

    @abstractmethod
    def apply(self, factor: float) -> None:
        """Make an update with the current gradients."""
