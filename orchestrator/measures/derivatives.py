"""Automatic differentiation that reports missing derivatives.

``torch.autograd.grad`` with ``allow_unused`` returns None for inputs that the outputs do not
depend on. It also returns None behind an operation without a second derivative, where the graph of
the first derivative ends. ``require_second_derivatives`` distinguishes the two cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from orchestrator.errors import MeasureError

_ENDS = ("Error", "NotImplemented")
"""Nodes at which autograd ends a graph that cannot be differentiated again."""


def gradients(
    outputs: Sequence[Tensor],
    vectors: Sequence[Tensor] | None,
    inputs: Sequence[Tensor],
    **options: bool,
) -> list[Tensor]:
    """Return ``torch.autograd.grad``, with zeros for inputs that the outputs do not depend on.

    Raises:
        MeasureError: If PyTorch lacks the derivative of an operation in the graph.
    """
    if not any(output.requires_grad for output in outputs):
        return [torch.zeros_like(t) for t in inputs]
    try:
        found = torch.autograd.grad(outputs, tuple(inputs), vectors, allow_unused=True, **options)
    except RuntimeError as error:
        if "derivative" in str(error) and "not implemented" in str(error):
            raise MeasureError(f"the loss has no second derivatives in PyTorch: {error}") from error
        raise
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, inputs, strict=True)]


def require_second_derivatives(gradient: Sequence[Tensor | None]) -> None:
    """Check that all terms of a gradient can be differentiated again.

    Args:
        gradient: Gradient computed with ``create_graph``.

    Raises:
        MeasureError: If an operation of the network or the loss prevents a second derivative,
            as ``torch.autograd.function.once_differentiable`` does.
    """
    ends = (node.name().rpartition("::")[2] in _ENDS for node in graph_nodes(*gradient))
    if not any(ends):
        return
    own = sorted(set(own_derivatives(*gradient)))
    cause = f"the derivative of {', '.join(own)}" if own else "the derivative of an operation"
    raise MeasureError(
        f"the loss has no second derivatives: {cause} cannot be differentiated again",
        "write its backward pass with differentiable operations, without once_differentiable",
    )


def graph_nodes(*tensors: Tensor | None) -> Iterator[Any]:
    """Yield every node of the graphs of ``tensors`` once."""
    pending: list[Any] = [tensor.grad_fn for tensor in tensors if tensor is not None]
    seen = set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        pending += [following for following, _ in node.next_functions]


def own_derivatives(*tensors: Tensor | None) -> Iterator[str]:
    """Yield the names of the ``autograd.Function`` subclasses in the graphs of ``tensors``."""
    for node in graph_nodes(*tensors):
        if isinstance(node, BackwardCFunction):
            yield type(node).__name__.removesuffix("Backward")
