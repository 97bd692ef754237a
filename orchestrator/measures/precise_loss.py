"""Losses for measures, with a softmax that stays precise for confident predictions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from orchestrator.measures.replaced_operations import ReplacedOperations
from orchestrator.training.losses import Loss, LossFunction
from orchestrator.training.losses.cross_entropy import cross_entropy, log_softmax


class PerExampleLoss(Protocol):
    """Interface that measures require of a training loss."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each example, shape ``(n,)``, from logits ``(n, classes)``."""
        ...


def precise_loss(loss: PerExampleLoss) -> Loss:
    """Return the same loss without cancellation in PyTorch's cross-entropy and log-softmax.

    Calls of these on logits ``(n, classes)`` are computed by ``training.losses.cross_entropy``
    instead. A loss that itself computes 1 − p is not improved.
    """
    function = loss.per_example
    if _is_partial(function, F.cross_entropy, {"label_smoothing", "reduction"}):
        smoothing = function.keywords.get("label_smoothing", 0.0)  # type: ignore[attr-defined]
        return Loss(partial(cross_entropy, label_smoothing=smoothing))
    return Loss(function if is_cross_entropy(loss) else partial(_precisely, function))


def is_cross_entropy(loss: PerExampleLoss) -> bool:
    """Whether a precise ``loss`` is softmax cross-entropy, with or without label smoothing."""
    return _is_partial(loss.per_example, cross_entropy, {"label_smoothing"})


def _is_partial(function: object, of: Callable[..., Any], options: Collection[str]) -> bool:
    return (
        isinstance(function, partial)
        and function.func is of
        and not function.args
        and set(function.keywords) <= set(options)
    )


def _precisely(function: LossFunction, logits: Tensor, labels: Tensor) -> Tensor:
    with ReplacedOperations(_PRECISE):
        return function(logits, labels)


def _log_softmax(
    input: Tensor, dim: int | None = None, *_: Any, dtype: torch.dtype | None = None, **__: Any
) -> Tensor:
    """Compute PyTorch's ``log_softmax``, without cancellation over the classes of logits."""
    if input.ndim == 2 and dim in (1, -1) and dtype in (None, input.dtype):
        return log_softmax(input)
    return F.log_softmax(input, dim, dtype=dtype)


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute ``cross_entropy``, without cancellation unless it smooths weighted labels."""
    how = (weight, size_average, ignore_index, reduce, reduction)
    if input.ndim == 2 and target.ndim == 1:
        if not label_smoothing:
            return F.nll_loss(log_softmax(input), target, *how)
        if weight is None and how[1:] == (None, -100, None, "none"):
            return cross_entropy(input, target, label_smoothing=label_smoothing)
    return F.cross_entropy(input, target, *how, label_smoothing)


_PRECISE: dict[Any, Callable[..., Any]] = {
    F.cross_entropy: _cross_entropy,
    F.log_softmax: _log_softmax,
    torch.log_softmax: _log_softmax,
    Tensor.log_softmax: _log_softmax,
}
