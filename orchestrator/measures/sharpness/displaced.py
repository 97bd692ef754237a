"""Loss, error and gradient of the network at displaced parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, nan

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.network import in_precision
from orchestrator.measures.precise_loss import PerExampleLoss

Examples = tuple[Tensor, Tensor]
"""Inputs as in the data set, and labels."""


@dataclass(frozen=True)
class LossAndError:
    """Loss and error of a network, averaged over examples.

    Attributes:
        loss: Mean loss.
        error: Share of the examples whose largest logit is not that of their label; NaN if any
            logit is NaN or +∞, since such logits cannot be ranked.
    """

    loss: float
    error: float


def displaced(
    context: MeasureContext,
    displacement: Tensor,
    examples: Examples | None = None,
    *,
    split: Split = "train",
    loss: PerExampleLoss | None = None,
) -> LossAndError:
    """Return the mean loss and error at θ + δ. Cost: one forward pass.

    Args:
        context: The network and its data.
        displacement: Flat vector δ of length ``n_parameters``.
        examples: Examples to use; by default all measured ones of ``split``.
        split: Split to use if ``examples`` is not given.
        loss: Loss to use; by default that of ``context``.

    Raises:
        MeasureError: If ``displacement`` has the wrong length.
    """
    examples = context.data(split) if examples is None else examples
    return loss_and_error(context, _parameters(context, displacement), examples, loss)


def loss_and_error(
    context: MeasureContext,
    state: Mapping[str, Tensor],
    examples: Examples,
    loss: PerExampleLoss | None = None,
) -> LossAndError:
    """Return the mean loss and error with other parameters or buffers. Cost: one forward pass.

    Args:
        context: The network and its data.
        state: Tensors to use instead of the network's own, by name.
        examples: Examples to use.
        loss: Loss to use; by default that of ``context``.
    """
    total = _Total(context.loss if loss is None else loss)
    with torch.no_grad():
        for x, y in _passes(context, examples):
            total.add(context.forward(x, state), y)
    return total.mean()


def displaced_gradient(
    context: MeasureContext,
    displacement: Tensor,
    examples: Examples | None = None,
    *,
    loss: PerExampleLoss | None = None,
) -> tuple[LossAndError, Tensor]:
    """Return the mean loss and error at θ + δ, and the loss gradient, flat. Cost: one gradient.

    Args:
        context: The network and its data.
        displacement: Flat vector δ of length ``n_parameters``.
        examples: Examples to use; by default all training examples.
        loss: Loss to use; by default that of ``context``.

    Raises:
        MeasureError: If ``displacement`` has the wrong length.
    """
    examples = context.data("train") if examples is None else examples
    total = _Total(context.loss if loss is None else loss)
    parameters = {
        name: value.requires_grad_() for name, value in _parameters(context, displacement).items()
    }
    gradient = torch.zeros_like(displacement)
    for x, y in _passes(context, examples):
        with torch.enable_grad():
            share = total.add(context.forward(x, parameters), y) / len(examples[1])
        if share.requires_grad:  # False if the logits depend on no parameter.
            parts = torch.autograd.grad(share, list(parameters.values()), materialize_grads=True)
            gradient += context.flatten(parts)
    return total.mean(), gradient


class _Total:
    """Sums over examples, pass by pass."""

    def __init__(self, loss: PerExampleLoss) -> None:
        self._per_example = loss.per_example
        self._loss = self._wrong = self._count = 0.0

    def add(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Add one pass and return its summed loss, which is differentiable."""
        losses = self._per_example(logits, labels)
        wrong = (logits.argmax(1) != labels).sum().item()
        self._loss += losses.detach().sum(dtype=torch.float64).item()
        self._wrong += wrong if (logits < inf).all() else nan
        self._count += len(labels)
        return losses.sum()

    def mean(self) -> LossAndError:
        return LossAndError(self._loss / self._count, self._wrong / self._count)


def _parameters(context: MeasureContext, displacement: Tensor) -> dict[str, Tensor]:
    moves = context.unflatten(displacement)
    return {
        name: parameter.detach() + move
        for (name, parameter), move in zip(context.parameters.items(), moves, strict=True)
    }


def _passes(context: MeasureContext, examples: Examples) -> Iterator[Examples]:
    for x, y in context.data.in_passes(*examples):
        yield in_precision(x, context.dtype), y
