"""Functions of torch and numpy that user code replaced."""

from __future__ import annotations

import os
import sys
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np  # noqa: F401 - its functions are looked up by name
import torch

# Torch wraps some of its own functions when it compiles its first network.
_WRAPPED_BY_TORCH = os.path.join(os.path.dirname(torch.__file__), "_dynamo")
_MODULES = (
    *("torch", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.parameter"),
    *("torch.nn.modules.module", "torch.nn.utils", "torch.optim", "torch.optim.lr_scheduler"),
    *("torch.autograd", "torch.autograd.functional", "torch.autograd.grad_mode", "torch.func"),
    *("torch.linalg", "torch.fft", "torch.special", "torch.random", "torch.cuda", "torch.amp"),
    *("torch.utils.checkpoint", "torch.utils.data", "torch.distributions", "torch.overrides"),
    *("torch._C._nn", "torch._VF"),
    *("numpy", "numpy.random", "numpy.linalg", "math", "random", "builtins"),
)
_ABSENT = object()

Place = ModuleType | type


@cache
def _places() -> dict[str, Place]:
    """Return the modules and classes in which functions are looked up, by name."""
    found: dict[str, Place] = {}
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is None:
            continue
        found[name] = module
        for key, value in list(vars(module).items()):
            if isinstance(value, type) and value.__module__.partition(".")[0] == "torch":
                found.setdefault(f"{value.__module__}.{value.__qualname__}", value)
                found.setdefault(f"{name}.{key}", value)
    unique: dict[int, str] = {}
    for name, place in found.items():
        unique.setdefault(id(place), name)
    return {name: found[name] for name in unique.values()}


class Functions:
    """The functions of torch and numpy at the time of creation.

    A name that is new in its module, or in its class and all base classes, does not count as a
    change, because only the code that added it uses it.
    """

    def __init__(self) -> None:
        self._found = {name: dict(vars(place)) for name, place in _places().items()}

    def replaced(self) -> dict[str, tuple[Place, str, Any]]:
        """Return the functions that were replaced since creation.

        Returns:
            By full name: the module or class, the name there, and the original function.
        """
        changes: dict[str, tuple[Place, str, Any]] = {}
        for name, before in self._found.items():
            place = _places()[name]
            now = vars(place)
            for key, value in before.items():
                other = now.get(key, _ABSENT)
                if other is not value and _is_function(value) and not _is_by_torch(other):
                    changes[f"{name}.{key}"] = (place, key, value)
            if isinstance(place, type) and len(now) > len(before):
                for key in now.keys() - before.keys():
                    inherited = any(key in vars(base) for base in place.__mro__[1:])
                    if inherited and _is_function(now[key]) and not _is_by_torch(now[key]):
                        changes[f"{name}.{key}"] = (place, key, _ABSENT)
        return changes


def put_back(replaced: dict[str, tuple[Place, str, Any]]) -> None:
    """Undo the changes found by :meth:`Functions.replaced`."""
    for place, key, value in replaced.values():
        if value is _ABSENT:
            delattr(place, key)
        else:
            setattr(place, key, value)


def _is_function(value: Any) -> bool:
    return callable(value) or isinstance(value, staticmethod | classmethod | property)


def _is_by_torch(value: Any) -> bool:
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return code is not None and code.co_filename.startswith(_WRAPPED_BY_TORCH)
