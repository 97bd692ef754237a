"""Replacement of PyTorch operations at all their calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode


class ReplacedOperations(TorchFunctionMode):
    """Context that redirects calls of some operations to others.

    Args:
        others: Replacement of each operation, called with the same arguments.
    """

    def __init__(self, others: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self._others = others

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self._others.get(func, func)(*args, **(kwargs or {}))
