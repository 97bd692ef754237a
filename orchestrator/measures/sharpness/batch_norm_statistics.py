"""Batch-normalization statistics of a network whose parameters were changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from orchestrator.measures.context import MeasureContext


def recompute(context: MeasureContext, state: dict[str, Tensor]) -> None:
    """Set the running statistics in ``state`` to those of all measured training examples.

    Each layer gets the mean and the variance (divided by n, not n − 1) of its inputs over all
    examples together, computed while the layers before it use their new statistics. One pass over
    all examples in training mode would normalize by the same statistics. Unlike averages over
    batches, they depend neither on ``examples_per_pass`` nor on the order of the examples.

    Layers without running statistics, and layers that a forward pass does not call, are not
    changed. A layer that is called more than once gets the statistics of all its calls. Cost: one
    forward pass if all examples fit into one, otherwise one per layer.

    Args:
        context: The network and its data, not changed.
        state: Parameters and buffers by name; the statistics are changed in place.
    """
    names = {
        module: name
        for name, module in context.model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    if not names:
        return
    calls = _calls(context, state, list(names))
    one_pass = context.data.n_examples("train") <= context.data.examples_per_pass

    if one_pass and len(set(calls)) == len(calls):
        # A layer's input has all examples, so its statistics are set before later layers run.
        def settle(layer: _BatchNorm, x: Tensor) -> None:
            _Moments().add(x).store(names[layer], state)

        with _on_input(calls, settle):
            _forward(context, state)
        return
    for layer in dict.fromkeys(calls):
        moments = _Moments()

        def count(_: _BatchNorm, x: Tensor, moments: _Moments = moments) -> None:
            moments.add(x)

        with _on_input([layer], count):
            _forward(context, state)
        moments.store(names[layer], state)


class _Moments:
    """Mean and variance of each channel, merged over passes."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = torch.zeros(())

    def add(self, x: Tensor) -> _Moments:
        """Add inputs ``(n, channels, …)`` by the update of Chan, Golub and LeVeque 1979."""
        rows = x.detach().transpose(0, 1).flatten(1).to(torch.float64)
        count, mean = rows.shape[1], rows.mean(1)
        squares = (rows - mean[:, None]).square().sum(1)
        if self._count:
            total = self._count + count
            shift = mean - self._mean
            mean = self._mean + shift * (count / total)
            squares = squares + self._squares + shift.square() * (self._count * count / total)
        self._count, self._mean, self._squares = self._count + count, mean, squares
        return self

    def store(self, name: str, state: dict[str, Tensor]) -> None:
        """Overwrite the statistics of the named layer with the mean and variance."""
        prefix = f"{name}." if name else ""
        state[f"{prefix}running_mean"].copy_(self._mean)
        state[f"{prefix}running_var"].copy_(self._squares / self._count)


@contextmanager
def _on_input(
    layers: list[_BatchNorm], see: Callable[[_BatchNorm, Tensor], object]
) -> Iterator[None]:
    """Call ``see(layer, input)`` before each call of the layers."""

    def hook(layer: Any, inputs: tuple[Any, ...]) -> None:  # A returned value would be the input.
        see(layer, inputs[0])

    hooks = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _calls(
    context: MeasureContext, state: dict[str, Tensor], layers: list[_BatchNorm]
) -> list[_BatchNorm]:
    """Return the layers in the order in which a forward pass calls them, once per call."""
    called: list[_BatchNorm] = []
    inputs, _ = next(context.data.batches("train"))
    with _on_input(layers, lambda layer, _: called.append(layer)), torch.no_grad():
        context.forward(inputs[:1], state)
    return called


def _forward(context: MeasureContext, state: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for x, _ in context.data.batches("train"):
            context.forward(x, state)
