"""Losses as measures take them: with softmax that keeps its digits where it is confident."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from orchestrator.measures.replaced_operations import ReplacedOperations
from orchestrator.training.cross_entropy import cross_entropy, log_softmax
from orchestrator.training.losses import Loss, LossFunction


class PerExampleLoss(Protocol):
    """What a measure needs of a training loss."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each example, shape ``(n,)``, from logits ``(n, classes)``."""
        ...


def precise_loss(loss: PerExampleLoss) -> Loss:
    """The same loss, without cancellation in PyTorch's cross-entropy and log-softmax.

    Where a loss calls these on logits ``(n, classes)``, they are computed by
    ``training.cross_entropy``. A loss that forms 1 − p itself stays as it is written.
    """
    function = loss.per_example
    if _is_partial(function, F.cross_entropy, {"label_smoothing", "reduction"}):
        smoothing = function.keywords.get("label_smoothing", 0.0)  # type: ignore[attr-defined]
        return Loss(partial(cross_entropy, label_smoothing=smoothing))
    return Loss(function if is_cross_entropy(loss) else partial(_precisely, function))


def is_cross_entropy(loss: PerExampleLoss) -> bool:
    """Whether a precise ``loss`` is softmax cross-entropy, with label smoothing or without."""
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
    """``log_softmax`` of PyTorch, over the classes of logits without cancellation."""
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
    """``cross_entropy`` of PyTorch, without cancellation unless it smooths weighted labels."""
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
