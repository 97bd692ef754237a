"""Taps: layers whose per-example gradients follow from their inputs and output gradients.

A layer is tapped if its weight affects the logits through a single call only. The gradient at its
output and its input then determine the whole gradient of its weight, and ``gradient_norms`` needs
nothing else. This is determined from the graph of each forward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.gradient_norms import (
    AffineLayer,
    AffineNorms,
    BatchNorm,
    LayerNorms,
    ScaleNorms,
)
from orchestrator.measures.example_axis import (
    FEW,
    follow_examples,
    probe_examples,
    separate_rows,
)
from orchestrator.measures.untraced_code import is_modified

_LAYERS = (*get_args(AffineLayer), *get_args(BatchNorm))


@dataclass(frozen=True)
class Tap:
    """One call of a layer, with its inputs and the edge of its output gradient.

    Attributes:
        module: The layer.
        inputs: Inputs of the call.
        outputs: Number of output values.
        edge: Edge at which the output gradient arrives; None if the output has none.
    """

    module: AffineLayer | BatchNorm
    inputs: Tensor
    outputs: int
    edge: GradientEdge | None

    def norms(self) -> LayerNorms:
        """Return an accumulator of the squared gradient norms of this call."""
        if isinstance(self.module, BatchNorm):
            return ScaleNorms(self.module, self.inputs)
        return AffineNorms(self.module, self.inputs)


@contextmanager
def tapped(model: nn.Module) -> Iterator[list[Tap]]:
    """Record every call of a tappable layer with trainable parameters."""
    taps: list[Tap] = []

    def record(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not inputs:  # Inputs given by keyword.
            return
        # Keep an edge, because an activation may overwrite the output itself in place.
        edge = get_gradient_edge(output) if output.requires_grad else None
        taps.append(Tap(module, inputs[0].detach(), output.numel(), edge))

    hooks = [module.register_forward_hook(record) for module in model.modules() if _plain(module)]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


def usable_taps(logits: Tensor, taps: list[Tap]) -> list[Tap]:
    """Return the taps whose layer's parameters affect the logits through this one call only.

    Args:
        logits: Shape ``(n, classes)``, with the graph of the recorded pass.
        taps: All calls recorded in that pass.
    """
    nodes, uses = _graph(logits)
    calls = Counter(id(tap.module) for tap in taps)
    return [
        tap
        for tap in taps
        if calls[id(tap.module)] == 1
        and tap.edge is not None
        and tap.edge.node in nodes
        and all(uses[id(p)] == 1 for p in tap.module.parameters() if p.requires_grad)
        and _has_axis_of_examples(tap, len(logits))
    ]


def mixing_layers(context: MeasureContext) -> frozenset[int]:
    """Return the ids of layers whose first axis was not shown to be the example axis.

    The test uses real examples in passes of two different sizes (``example_axis``). Layers that
    no such pass calls are included. Usually the result is empty.

    Raises:
        MeasureError: If logits or loss of one example depend on other examples, so that
            per-example gradients do not exist.
    """

    def compute() -> frozenset[int]:
        x, y = probe_examples(context)
        if x.is_floating_point():
            x = x.requires_grad_()
        with torch.enable_grad(), tapped(context.model) as taps:
            logits = context.forward(x.clone())
        with torch.no_grad(), tapped(context.model) as fewer:
            alone = context.forward(x[:FEW].detach().clone())
        _refuse_difference("logits", logits[:FEW].detach(), alone)
        losses = (context.loss.per_example(logits[:n].detach(), y[:n]) for n in (len(y), FEW))
        _refuse_difference("the loss", *(loss[:FEW].detach() for loss in losses))
        shapes = {id(tap.module): tap.inputs.shape for tap in fewer}
        usable = [
            tap
            for tap in usable_taps(logits, taps)
            if follow_examples(tap.inputs.shape, shapes.get(id(tap.module), ()))
        ]
        arriving: list[Tensor | GradientEdge] = [tap.edge for tap in usable if tap.edge is not None]
        inputs, *layers = separate_rows(logits, [x if x.requires_grad else logits, *arriving])
        if not inputs:
            raise _mixed("logits")
        separate = {id(tap.module) for tap, own in zip(usable, layers, strict=True) if own}
        return frozenset(map(id, filter(_plain, context.model.modules()))) - separate

    return context.shared("mixing_layers", compute)


def _refuse_difference(what: str, together: Tensor, alone: Tensor) -> None:
    """Refuse values that change by more than rounding with the number of examples in a pass."""
    tolerance = torch.finfo(together.dtype).eps ** 0.5 * together.abs().amax()
    if ((together - alone).abs() > tolerance).any():
        raise _mixed(what)


def _mixed(what: str) -> MeasureError:
    verb = "depends" if what == "the loss" else "depend"
    return MeasureError(
        f"{what} of one example {verb} on the other examples of its pass, so "
        "per-example gradients do not exist"
    )


def _plain(module: nn.Module) -> bool:
    """Whether a layer is of a tappable kind, unmodified, and has trainable parameters."""
    own = dict(module.named_parameters())
    return (
        type(module) in _LAYERS
        and any(p.requires_grad for p in own.values())
        and set(own) <= {"weight", "bias"}
        and own.get("weight") is getattr(module, "weight", None)
        and own.get("bias") is getattr(module, "bias", None)
        and not is_modified(module)
        and not (isinstance(module, BatchNorm) and module.running_var is None)
    )


def _has_axis_of_examples(tap: Tap, n: int) -> bool:
    axes = 2 if isinstance(tap.module, nn.Linear | BatchNorm) else tap.module.weight.ndim
    enough = tap.inputs.ndim >= axes if axes == 2 else tap.inputs.ndim == axes
    return enough and len(tap.inputs) == n


def _graph(logits: Tensor) -> tuple[set[Any], Counter[int]]:
    """Return the nodes of the graph of ``logits`` and each parameter's number of uses, by id."""
    nodes: set[Any] = set()
    uses: Counter[int] = Counter()
    pending: list[Any] = [logits.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        for following, _ in node.next_functions:
            if following is not None and hasattr(following, "variable"):
                uses[id(following.variable)] += 1
            pending.append(following)
    return nodes, uses
