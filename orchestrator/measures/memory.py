"""Memory: how much the graph of a gradient takes, and whether there was none left."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def graph_bytes_per_example(
    differentiate: Callable[[Tensor, Tensor], object], inputs: Tensor, labels: Tensor
) -> int:
    """Bytes of tensors that automatic differentiation keeps for each further example.

    Found by counting what two small passes keep; what does not grow with the examples, such as
    the weights, drops out of the difference. A tensor that several operations keep counts for
    each of them, so that this is rather too much than too little.

    Args:
        differentiate: Computes a gradient with its graph from inputs and labels.
        inputs: At least one example.
        labels: Their labels.
    """

    def kept(examples: int) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor.detach()  # the graph is not used, and a cycle would never be freed

        with torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
            differentiate(
                inputs[:1].expand(examples, *inputs.shape[1:]), labels[:1].expand(examples)
            )
        return sum(sizes)

    fewer, more = 2, 6
    return max(0, (kept(more) - kept(fewer)) // (more - fewer))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the device or the machine had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On a CPU torch reports the lack of memory as a plain RuntimeError.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
