"""The layers of a network that have a weight matrix, in call order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from orchestrator.measures.context import MeasureContext


@dataclass(frozen=True)
class WeightLayer:
    """A linear layer or convolution that contributes to the logits.

    Attributes:
        name: Name of its weight in ``context.parameters``.
        module: The layer.
    """

    name: str
    module: nn.Linear | _ConvNd


def weight_matrices(module: nn.Linear | _ConvNd) -> Tensor:
    """Return a layer's detached weight ``(groups, outputs, inputs)``, one row per output.

    The inputs of a convolution are the channels and kernel positions of one group.
    """
    weight = module.weight.detach()
    groups = 1 if isinstance(module, nn.Linear) else module.groups
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def weight_layers(context: MeasureContext) -> list[WeightLayer]:
    """Return the layers whose trainable weight affects the logits, in order of first call."""

    def compute() -> list[WeightLayer]:
        called: dict[int, nn.Module] = {}

        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            called.setdefault(id(module), module)

        kinds = [m for m in context.model.modules() if isinstance(m, nn.Linear | _ConvNd)]
        hooks = [module.register_forward_hook(record) for module in kinds]
        inputs, _ = next(context.data.batches("train"))
        try:
            with torch.enable_grad():
                logits = context.forward(inputs[:2])
        finally:
            for hook in hooks:
                hook.remove()
        used = _used(context, logits)
        return [
            WeightLayer(used[id(module.weight)], module)
            for module in called.values()
            if isinstance(module, nn.Linear | _ConvNd)
            and not isinstance(module, _ConvTransposeNd)  # Its weight has inputs first.
            and id(module.weight) in used
        ]

    return context.shared("weight_layers", compute)


def _used(context: MeasureContext, logits: Tensor) -> dict[int, str]:
    """Return the names of the parameters that ``logits`` depend on, by identity."""
    if not logits.requires_grad:
        return {}
    parameters = context.parameters
    gradients = torch.autograd.grad(logits.sum(), list(parameters.values()), allow_unused=True)
    pairs = zip(parameters.items(), gradients, strict=True)
    return {id(p): name for (name, p), gradient in pairs if gradient is not None}
