"""Other versions of PyTorch's operations, wherever code calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode


class ReplacedOperations(TorchFunctionMode):
    """Within it, calls of some operations are calls of others.

    Args:
        others: Operation → what is called in its place, with the same arguments.
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
