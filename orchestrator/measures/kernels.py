"""Kernels whose second derivatives exist and are right, in place of those chosen for speed.

PyTorch computes some operations by fused kernels that have no second derivative (attention,
cuDNN's recurrent layers), that leave out the calls of inner modules (the fast path of
transformer layers), or whose second derivative is wrong (``torch._weight_norm``) or missing
(``cdist``, ``hardsigmoid``). A measuring pass computes the same functions by plain operations;
values differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from orchestrator.measures.derivatives import graph_nodes
from orchestrator.measures.replaced_operations import ReplacedOperations


def plain_weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """The weight g v / ‖v‖, its norm over all axes but ``dim`` (over all of them for −1).

    Equal to ``torch._weight_norm``, whose fused kernel returns wrong second derivatives.
    """
    axes = [axis for axis in range(v.ndim) if dim == -1 or axis != dim % v.ndim]
    norm: Tensor = torch.linalg.vector_norm(v, dim=axes, keepdim=True)
    return v * (g / norm)


def plain_hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``hardsigmoid`` by operations with a second derivative, which is zero."""
    value = F.relu6(input + 3) / 6
    return input.copy_(value) if inplace else value


def plain_distances(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None
) -> Tensor:
    """``torch.cdist`` by operations with a second derivative."""
    del compute_mode  # how to compute, not what
    differences = x1[..., :, None, :] - x2[..., None, :, :]
    distances: Tensor = torch.linalg.vector_norm(differences, ord=p, dim=-1)
    return distances


_PLAIN: dict[Any, Callable[..., Any]] = {
    torch._weight_norm: plain_weight_norm,
    F.hardsigmoid: plain_hardsigmoid,
    torch.cdist: plain_distances,
}
_REPLACED = frozenset({"WeightNormInterfaceBackward0", "HardsigmoidBackward0", "CdistBackward0"})
"""Nodes of graphs with operations of ``_PLAIN``."""


def needs_plain_operations(model: nn.Module, device: torch.device, inputs: Tensor) -> bool:
    """Whether a network uses an operation that ``plain`` of ``differentiable_kernels`` replaces.

    Args:
        model: The network, in eval mode.
        device: Where it runs.
        inputs: A few examples; the network runs on a copy of them once.
    """
    try:
        with torch.enable_grad(), differentiable_kernels(model, device, plain=False):
            logits = model(inputs.clone())
    except Exception:  # the first measuring pass raises it again, where there is a row for it
        return False
    if not isinstance(logits, Tensor):
        return False  # refused there
    return any(node.name() in _REPLACED for node in graph_nodes(logits))


@contextmanager
def differentiable_kernels(
    model: nn.Module, device: torch.device, *, plain: bool
) -> Iterator[None]:
    """Run a forward pass in kernels that can be differentiated twice.

    Args:
        model: The network that runs inside.
        device: Where it runs.
        plain: Whether to replace operations whose second derivative is wrong or missing, too.
            This costs a Python call per operation.
    """
    with ExitStack() as stack:
        stack.enter_context(_without_fast_path())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if device.type == "cuda" and any(isinstance(m, nn.RNNBase) for m in model.modules()):
            stack.enter_context(_without_cudnn())
        if plain:
            stack.enter_context(ReplacedOperations(_PLAIN))
        yield


@contextmanager
def _without_fast_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _without_cudnn() -> AbstractContextManager[Any]:
    manager: AbstractContextManager[Any] = torch.backends.cudnn.flags(enabled=False)
    return manager
