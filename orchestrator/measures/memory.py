"""Memory use of gradient graphs, and detection of out-of-memory errors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def graph_bytes_per_example(
    differentiate: Callable[[Tensor, Tensor], object], inputs: Tensor, labels: Tensor
) -> int:
    """Return the bytes of tensors that automatic differentiation keeps per additional example.

    This is the difference between two small passes, in which constant parts such as the weights
    cancel. A tensor kept by several operations counts once per operation, so the result is an
    overestimate rather than an underestimate.

    Args:
        differentiate: Function that computes a gradient with its graph from inputs and labels.
        inputs: At least one example.
        labels: Their labels.
    """

    def kept(examples: int) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor.detach()  # Unused; a reference cycle would never be freed.

        with torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
            differentiate(
                inputs[:1].expand(examples, *inputs.shape[1:]), labels[:1].expand(examples)
            )
        return sum(sizes)

    fewer, more = 2, 6
    return max(0, (kept(more) - kept(fewer)) // (more - fewer))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` reports that the device or the machine ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On a CPU, torch reports out-of-memory as a plain RuntimeError.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
