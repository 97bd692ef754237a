"""Training losses on logits, per example and averaged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor

LossFunction = Callable[[Tensor, Tensor], Tensor]
Known = TypeVar("Known", bound=Callable[..., Tensor])


class Loss:
    """A loss on logits ``(n, classes)`` and labels ``(n,)``.

    Functions from outside this package get copies, because they may modify their arguments
    (``logits[rows, labels] -= margin``) and logits are used again.

    Args:
        per_example: Returns the loss of each example, of shape ``(n,)``.
        mean: Returns the mean loss, if this is faster than averaging ``per_example``.
    """

    def __init__(self, per_example: LossFunction, mean: LossFunction | None = None) -> None:
        self.per_example = on_copies(per_example)
        self._mean = None if mean is None else on_copies(mean)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss, of shape ``()``."""
        if self._mean is not None:
            return self._mean(logits, labels)
        return self.per_example(logits, labels).mean()


def reads_only(function: Known) -> Known:
    """Decorate a loss function that never modifies its arguments, so that it gets no copies."""
    _READS_ONLY.append(function)
    return function


def on_copies(function: LossFunction) -> LossFunction:
    """Return a loss function that cannot modify the logits and labels it is called with.

    Args:
        function: The loss function; returned as it is if known not to modify its arguments.
    """
    inner = function.func if isinstance(function, partial) else function
    known = any(inner is one for one in _READS_ONLY)
    return function if known else partial(_on_copies, function)


def _on_copies(function: LossFunction, logits: Tensor, labels: Tensor) -> Tensor:
    return function(logits.clone(), labels.clone())


_READS_ONLY: list[Callable[..., Tensor]] = [F.cross_entropy, F.multi_margin_loss, _on_copies]
