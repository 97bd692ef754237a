"""Snapshot and restoration of all network state that a measure could change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_CONTAINERS = (dict, list, set)

# Kinds of changes to a network, used in messages.
WEIGHTS = "weights"
BUFFERS = "buffers"
GRADIENTS = "gradients"
ATTRIBUTES = "attributes"
BY_ITSELF = frozenset({BUFFERS, ATTRIBUTES})
"""Kinds that an ordinary network may change whenever it is called: counters, caches …"""


@dataclass(frozen=True)
class NetworkChange:
    """One change to a network.

    Attributes:
        kind: ``weights``, ``buffers``, ``gradients``, ``attributes``, ``training mode`` …
        name: Name of the tensor, module or attribute.
    """

    kind: str
    name: str


class NetworkState:
    """State of a network at construction, with a copy of each of its tensors.

    Args:
        modules: The network and other root modules, by prefix for messages.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self._modules = [
            _ModuleState(module, f"{prefix}{'.' if prefix and name else ''}{name}")
            for prefix, root in modules.items()
            for name, module in root.named_modules()
        ]
        tensors: dict[int, _TensorState] = {}
        for module in self._modules:
            for name, tensor, kind in module.tensors():
                tensors.setdefault(id(tensor), _TensorState(tensor, name, kind))
        self._tensors = list(tensors.values())
        classes = {base for state in self._modules for base in type(state.module).__mro__}
        self._classes = [
            (owner, dict(vars(owner)))
            for owner in sorted(classes, key=lambda owner: owner.__qualname__)
            # The process guard covers torch's classes along with its functions.
            if owner.__module__.partition(".")[0] not in {"torch", "builtins", "typing"}
        ]

    def changes(self) -> list[NetworkChange]:
        """Return all changes since construction; tensors are compared bit by bit."""
        found = [change for module in self._modules for change in module.changes()]
        found += [change for tensor in self._tensors for change in tensor.changes()]
        for owner, before in self._classes:
            now = vars(owner)
            found += [
                NetworkChange(ATTRIBUTES, f"{owner.__qualname__}.{key}")
                for key in before.keys() | now.keys()
                if before.get(key) is not now.get(key) and not _is_internal(key)
            ]
        return found

    def restore(self) -> None:
        """Restore the same objects with the same values."""
        for owner, before in self._classes:
            now = dict(vars(owner))
            for key in before.keys() | now.keys():
                if before.get(key) is now.get(key) or _is_internal(key):
                    continue
                if key in before:
                    setattr(owner, key, before[key])
                else:
                    delattr(owner, key)
        for module in self._modules:
            module.restore()
        for tensor in self._tensors:
            tensor.restore()


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Restore a network after calls, because some networks count calls or cache tensors."""
    before = NetworkState({"": model})
    try:
        yield
    finally:
        before.restore()


def _is_internal(key: str) -> bool:
    """Whether ``key`` is one of Python's own caches in a class."""
    return key in {"__abstractmethods__", "_abc_impl", "__annotations__", "__weakref__"}


class _ModuleState:
    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name
        self._class = type(module)
        self._attributes = dict(vars(module))
        self._contents = {
            key: value.copy()
            for key, value in self._attributes.items()
            if isinstance(value, _CONTAINERS)
        }

    def tensors(self) -> Iterator[tuple[str, Tensor, str]]:
        """Yield name, tensor and kind of each of the module's own tensors."""
        for key, value in self._attributes.items():
            kind = {"_parameters": WEIGHTS, "_buffers": BUFFERS}.get(key, ATTRIBUTES)
            for label, item in _items(key, value):
                if isinstance(item, Tensor):
                    yield self._label(label), item, WEIGHTS if _is_weight(item) else kind

    def changes(self) -> Iterator[NetworkChange]:
        if type(self.module) is not self._class:
            yield NetworkChange("class", self._label(self._class.__name__))
        now = vars(self.module)
        for key in self._attributes.keys() | now.keys():
            before = self._attributes.get(key)
            same = key in now and key in self._attributes and _same(before, now[key])
            if same and (key not in self._contents or _equal(self._contents[key], before)):
                continue
            kind = {"_parameters": WEIGHTS, "_buffers": BUFFERS}.get(key)
            content: Any = self._contents.get(key)
            if kind and key in now and content.keys() == now[key].keys():
                for name, tensor in content.items():
                    if tensor is not now[key][name]:
                        yield NetworkChange(kind, self._label(name))
            else:
                yield NetworkChange(_kind(key, before, now.get(key)), self._label(key))

    def restore(self) -> None:
        if type(self.module) is not self._class:
            self.module.__class__ = self._class
        now = vars(self.module)
        for key in now.keys() - self._attributes.keys():
            del now[key]
        now.update(self._attributes)
        for key, content in self._contents.items():
            container = self._attributes[key]
            if _equal(content, container):
                continue
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)

    def _label(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


class _TensorState:
    def __init__(self, tensor: Tensor, name: str, kind: str) -> None:
        self.tensor, self.name, self.kind = tensor, name, kind
        self._copy = tensor.detach().clone()
        self._requires_grad = tensor.requires_grad
        self._grad = tensor.grad if tensor.is_leaf else None
        self._hooks = _tensor_hooks(tensor)

    def changes(self) -> Iterator[NetworkChange]:
        tensor = self.tensor
        if not same_bits(tensor, self._copy):
            yield NetworkChange(self.kind, self.name)
        if tensor.requires_grad != self._requires_grad:
            yield NetworkChange("requires_grad", self.name)
        if tensor.is_leaf and tensor.grad is not self._grad:
            yield NetworkChange(GRADIENTS, self.name)
        if _tensor_hooks(tensor) != self._hooks:
            yield NetworkChange("hooks", self.name)

    def restore(self) -> None:
        tensor = self.tensor
        if not same_bits(tensor, self._copy):
            if tensor.shape == self._copy.shape and tensor.dtype == self._copy.dtype:
                tensor.data.copy_(self._copy)
            else:
                tensor.data = self._copy.clone()
        if tensor.is_leaf:
            tensor.requires_grad_(self._requires_grad)
            tensor.grad = self._grad
        if _tensor_hooks(tensor) != self._hooks:
            table = tensor._backward_hooks
            table.clear()  # type: ignore[union-attr]
            table.update(self._hooks)  # type: ignore[union-attr]


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether shape, dtype, device and all bits agree, including NaN and signs of zero."""
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    one, other = one.detach(), other.detach()
    if one.layout != torch.strided or one.is_quantized or one.device.type == "meta":
        return one is other or bool((one.to_dense() == other.to_dense()).all())
    if one.is_complex():
        one, other = torch.view_as_real(one.resolve_conj()), torch.view_as_real(other)
    return torch.equal(as_bits(one), as_bits(other))


def as_bits(tensor: Tensor) -> Tensor:
    """Return the bits of a dense real tensor as integers of the same shape."""
    return tensor.resolve_neg().view(_BITS[tensor.element_size()])


def _tensor_hooks(tensor: Tensor) -> dict[Any, Any]:
    return dict(tensor._backward_hooks or {}) if tensor.is_leaf else {}


def _is_weight(value: Any) -> bool:
    return isinstance(value, nn.Parameter)


def _items(key: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(str(name), item) for name, item in value.items()]
    if isinstance(value, list | tuple):
        return [(f"{key}[{place}]", item) for place, item in enumerate(value)]
    return [(key, value)]


def _same(before: Any, now: Any) -> bool:
    """Whether an attribute is unchanged; numbers and strings are compared by value."""
    plain = (bool, int, float, complex, str, bytes, type(None))
    return before is now or (type(before) is type(now) and type(now) in plain and before == now)


def _equal(content: Any, container: Any) -> bool:
    """Whether a container still has the content copied from it."""
    if len(content) != len(container):
        return False
    if isinstance(content, dict):
        return all(
            key in container and _same(value, container[key]) for key, value in content.items()
        )
    if isinstance(content, list):
        return all(map(_same, content, container))
    return bool(content == container)


def _kind(key: str, before: Any, now: Any) -> str:
    if "hooks" in key:
        return "hooks"
    named = {
        "training": "training mode",
        "_parameters": "parameters registered in",
        "_buffers": "buffers registered in",
        "_modules": "modules registered in",
    }
    if callable(before) or callable(now):
        return "methods"
    return named.get(key, ATTRIBUTES)
