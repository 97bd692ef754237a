"""Replacements for fast kernels whose second derivatives are missing or wrong.

Some fused PyTorch kernels have no second derivative (attention, cuDNN's recurrent layers,
``cdist``, ``hardsigmoid``) or a wrong one (``torch._weight_norm``). The fast path of transformer
layers skips the calls of inner modules. A measuring pass computes the same functions with plain
operations; values differ by rounding.
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
    """Return the weight g v / ‖v‖, with the norm over all axes but ``dim`` (over all for −1).

    Equal to ``torch._weight_norm``, whose fused kernel returns wrong second derivatives.
    """
    axes = [axis for axis in range(v.ndim) if dim == -1 or axis != dim % v.ndim]
    norm: Tensor = torch.linalg.vector_norm(v, dim=axes, keepdim=True)
    return v * (g / norm)


def plain_hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Compute ``hardsigmoid`` from operations that have a second derivative, which is zero."""
    value = F.relu6(input + 3) / 6
    return input.copy_(value) if inplace else value


def plain_distances(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None
) -> Tensor:
    """Compute ``torch.cdist`` from operations that have a second derivative."""
    del compute_mode  # Affects the method, not the result.
    differences = x1[..., :, None, :] - x2[..., None, :, :]
    distances: Tensor = torch.linalg.vector_norm(differences, ord=p, dim=-1)
    return distances


_PLAIN: dict[Any, Callable[..., Any]] = {
    torch._weight_norm: plain_weight_norm,
    F.hardsigmoid: plain_hardsigmoid,
    torch.cdist: plain_distances,
}
_REPLACED = frozenset({"WeightNormInterfaceBackward0", "HardsigmoidBackward0", "CdistBackward0"})
"""Graph nodes of the operations in ``_PLAIN``."""


def needs_plain_operations(model: nn.Module, device: torch.device, inputs: Tensor) -> bool:
    """Whether a network uses an operation that ``differentiable_kernels`` can replace.

    Args:
        model: The network, in eval mode.
        device: Device of the network.
        inputs: A few examples; the network runs on a copy of them once.
    """
    try:
        with torch.enable_grad(), differentiable_kernels(model, device, plain=False):
            logits = model(inputs.clone())
    except Exception:  # The first measuring pass raises it again and reports it in a row.
        return False
    if not isinstance(logits, Tensor):
        return False  # Refused by the first measuring pass.
    return any(node.name() in _REPLACED for node in graph_nodes(logits))


@contextmanager
def differentiable_kernels(
    model: nn.Module, device: torch.device, *, plain: bool
) -> Iterator[None]:
    """Run a forward pass with kernels that can be differentiated twice.

    Args:
        model: The network to run in this context.
        device: Device of the network.
        plain: Whether to replace also operations whose second derivative is wrong or missing.
            This costs one Python call per operation.
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
