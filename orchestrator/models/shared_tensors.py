"""Tensors that a network uses in several places: modules used twice, tied weights.

A site of a tensor is a module attribute that refers to it. A module registered under two names is
one module, with one site per tensor. Two modules with tied weights have one site each. Code that
replaces a tensor must replace it at all of its sites, exactly once per site.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import combinations
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from orchestrator.errors import ModelError

Network = TypeVar("Network", bound=nn.Module)


def tensor_sites(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Map every name of a parameter or buffer to one name per site of that tensor.

    Args:
        model: Any network.

    Returns:
        One name per site, by every name in ``named_parameters(remove_duplicate=False)`` and in
        the equivalent for buffers.
    """
    names: dict[int, list[str]] = defaultdict(list)
    sites: dict[int, dict[tuple[int, str], str]] = defaultdict(dict)
    for prefix, module in model.named_modules(remove_duplicate=False):
        for attribute, tensor in _own_tensors(module):
            name = f"{prefix}.{attribute}" if prefix else attribute
            names[id(tensor)].append(name)
            sites[id(tensor)].setdefault((id(module), attribute), name)
    return {name: tuple(sites[key].values()) for key, among in names.items() for name in among}


def call_with(
    model: nn.Module,
    sites: Mapping[str, tuple[str, ...]],
    tensors: Mapping[str, Tensor],
    inputs: Tensor,
) -> Any:
    """Call the network with other parameters or buffers, without changing it.

    ``torch.func.functional_call`` does so only for tensors with one name. If a module has two
    names, it replaces the same tensor twice and finally restores the replacement, not the original.

    Args:
        model: The network.
        sites: Its :func:`tensor_sites`.
        tensors: Values by name; one name of a shared tensor is enough.
        inputs: Inputs of the call.
    """
    everywhere = {
        site: value for name, value in tensors.items() for site in sites.get(name, (name,))
    }
    return functional_call(model, everywhere, (inputs,), tie_weights=False)


def tie_equal_memory(model: nn.Module, where: str) -> None:
    """Merge parameters, or buffers, that are the same numbers in memory into one tensor.

    ``decoder.weight.data = encoder.weight.data`` ties two parameters behind PyTorch's back. Each
    would have its own gradient, optimizer state and place in snapshots. After merging, they are
    trained as one parameter.

    Args:
        model: A network on the CPU; some parameters and buffers may be replaced by others of it.
        where: Description of the network, for messages.

    Raises:
        ModelError: If different tensors overlap, which training and snapshots cannot preserve.
    """
    same = _equal_memory(model)
    for module in model.modules():
        for attribute, tensor in list(_own_tensors(module)):
            if id(tensor) in same:
                setattr(module, attribute, same[id(tensor)])
    _refuse_overlaps(model, where)


def copy_with_ties(model: Network, where: str) -> Network:
    """Return a deep copy in which tensors are tied as by :func:`tie_equal_memory`.

    ``copy.deepcopy`` alone gives each parameter its own memory.

    Args:
        model: Any network; it is not changed.
        where: Description of the network, for messages.

    Raises:
        ModelError: As for :func:`tie_equal_memory`.
    """
    same = _equal_memory(model)
    _refuse_overlaps(model, where, same)
    memo: dict[int, Any] = {}
    for key, first in same.items():
        memo[key] = deepcopy(first, memo)
    for module in model.modules():
        for tensor in _attributes(module).values():
            if not tensor.is_leaf:  # Left behind by a pass; deepcopy refuses such tensors.
                memo[id(tensor)] = tensor.detach().clone()
    return deepcopy(model, memo)


def _equal_memory(model: nn.Module) -> dict[int, Tensor]:
    """Map ids of parameters and buffers to the first tensor with the same numbers in memory."""
    first: dict[tuple[object, ...], Tensor] = {}
    same: dict[int, Tensor] = {}
    for module in model.modules():
        for _, tensor in _own_tensors(module):
            if (span := _span(tensor)) is not None:
                kind = isinstance(tensor, nn.Parameter), tensor.requires_grad, tensor.dtype
                one = first.setdefault((*kind, span, tensor.shape, tensor.stride()), tensor)
                if one is not tensor:
                    same[id(tensor)] = one
    return same


def _refuse_overlaps(
    model: nn.Module, where: str, same: Mapping[int, Tensor] = MappingProxyType({})
) -> None:
    """Refuse overlaps that would be lost when parameters move; ``same`` maps ids to tied ones."""
    found: dict[int, list[tuple[str, Tensor, bool]]] = defaultdict(list)
    for prefix, module in model.named_modules():
        # Tensors recomputed before each call may use any memory, as in spectral_norm.
        loose = {} if module._forward_pre_hooks else _attributes(module)
        places = [(module._parameters, True), (module._buffers, True), (loose, False)]
        for tensors, registered in places:
            for attribute, tensor in tensors.items():
                if tensor is not None and (span := _span(tensor)) is not None:
                    name = f"{prefix}.{attribute}" if prefix else attribute
                    found[span[0]].append((name, tensor, registered))
    for among in found.values():
        for (name, one, kept), (other_name, other, other_kept) in combinations(among, 2):
            parameters = isinstance(one, nn.Parameter) or isinstance(other, nn.Parameter)
            tied = same.get(id(one), one) is same.get(id(other), other)
            if not tied and (parameters or (kept and other_kept)) and _overlap(one, other):
                raise ModelError(
                    f"{where}: {name} and {other_name} are different tensors in the same memory, "
                    "which training and snapshots cannot preserve",
                    "register one of them and compute the other from it in forward(), for example "
                    "F.linear(x, self.encoder.weight.t())",
                )


def _attributes(module: nn.Module) -> dict[str, Tensor]:
    """Return the unregistered tensors among a module's attributes."""
    found: dict[str, Tensor] = {}
    for name, value in vars(module).items():
        items = enumerate(value) if isinstance(value, list | tuple) else [(None, value)]
        for index, item in items:
            if isinstance(item, Tensor):
                found[name if index is None else f"{name}[{index}]"] = item
    return found


def _span(tensor: Tensor) -> tuple[int, int, int] | None:
    """Return the storage address of a tensor, its first byte there and the byte after its last."""
    if is_lazy(tensor) or not tensor.numel() or tensor.layout != torch.strided:
        return None
    size, start = tensor.element_size(), int(tensor.storage_offset())
    extents = zip(tensor.shape, tensor.stride(), strict=True)
    last = start + sum((count - 1) * int(stride) for count, stride in extents)
    try:
        address = tensor.untyped_storage().data_ptr()
    except RuntimeError:  # A subclass of Tensor that stores its numbers elsewhere.
        return None
    return address, start * size, (last + 1) * size


def _overlap(one: Tensor, other: Tensor) -> bool:
    first, second = _span(one), _span(other)
    if first is None or second is None:
        return False
    return first[0] == second[0] and first[1] < second[2] and second[1] < first[2]


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for registered in (module._parameters, module._buffers):
        for name, tensor in registered.items():
            if tensor is not None:
                yield name, tensor
