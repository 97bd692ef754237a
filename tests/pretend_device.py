"""A device that is not the CPU, for machines that have no other.

Its tensors hold tensors of the CPU, which do the work. What mixes the two devices raises, as on
a GPU, so code that passes here names its device everywhere. PyTorch's device ``lazy``, which is
not otherwise used here, lends its name: it needs no driver, and autograd works with it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

ELSEWHERE = torch.device("lazy")
_ATEN = torch.ops.aten
_CROSSING = {_ATEN._to_copy.default, _ATEN.copy_.default}
# On a GPU too these take indices from the CPU.
_INDEXING = {_ATEN.index.Tensor, _ATEN.index_put_.default, _ATEN._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor of the other device; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=ELSEWHERE,
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: Elsewhere) -> None:
        torch.Tensor.data.__set__(self, other)
        self.held = other.held

    def __repr__(self) -> str:
        return f"Elsewhere({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("only tensors of the CPU are NumPy's")

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        return _run(function, args, kwargs or {})


class PretendDevice(TorchDispatchMode):
    """While it is entered, ``ELSEWHERE`` is a device like any other."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        return _run(function, args, kwargs or {})


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, shape = tree_flatten((args, kwargs))
    there = [one for one in flat if isinstance(one, Elsewhere)]
    here = [one for one in flat if isinstance(one, Tensor) and not isinstance(one, Elsewhere)]
    # A single number is taken from anywhere.
    if there and function not in _CROSSING | _INDEXING and any(one.dim() for one in here):
        raise RuntimeError(f"{function}: tensors of two devices")
    on_cpu = [_on_cpu(one) for one in flat]
    cpu_args, cpu_kwargs = tree_unflatten(on_cpu, shape)
    result = function(*cpu_args, **cpu_kwargs)
    reshaped = torch.Tag.inplace_view in function.tags
    if reshaped and isinstance(args[0], Elsewhere):
        args[0].data = Elsewhere(args[0].held)  # The shape that it tells must change too.
    if reshaped or function is _ATEN.copy_.default:
        return args[0]
    device = kwargs.get("device")
    if not (there if device is None else torch.device(device) == ELSEWHERE):
        return result
    known = {id(one.held): one for one in there}

    def wrap(one: Tensor) -> Tensor:
        return known[id(one)] if id(one) in known else Elsewhere(one)

    return tree_map_only(Tensor, wrap, result)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Elsewhere):
        return value.held
    named = isinstance(value, torch.device) and value == ELSEWHERE
    return torch.device("cpu") if named else value
