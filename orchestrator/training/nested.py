"""Nested containers of tensors and plain values: copying, and splitting for storage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from orchestrator.errors import UserError


def copy_nested(value: Any, device: str | torch.device | None = None) -> Any:
    """Copy dicts, lists, tuples and tensors recursively.

    Args:
        value: Value to copy.
        device: Device of the copied tensors; by default that of each original.
    """
    match value:
        case Tensor():
            return copy_tensor(value, device)
        case dict():
            return {key: copy_nested(item, device) for key, item in value.items()}
        case list():
            return [copy_nested(item, device) for item in value]
        case tuple():
            return tuple(copy_nested(item, device) for item in value)
        case _:
            return value


def copy_tensor(value: Tensor, device: str | torch.device | None = None) -> Tensor:
    """Copy one tensor into contiguous memory of its own, without its gradient history."""
    source = value.detach()
    return torch.empty_like(
        source, memory_format=torch.contiguous_format, device=device or source.device
    ).copy_(source)


def take_apart(value: Any, where: str) -> tuple[Any, list[Tensor]]:
    """Separate tensors from the structure around them.

    Args:
        value: Dicts (with text or integers as keys), lists, tuples, tensors, numbers, text,
            booleans and None, nested.
        where: Name of ``value`` in the error message.

    Returns:
        The structure, suitable for JSON, and the tensors it refers to.

    Raises:
        UserError: If ``value`` contains anything else.
    """
    tensors: list[Tensor] = []

    def walk(item: Any) -> Any:
        match item:
            case Tensor():
                tensors.append(item)
                return {"tensor": len(tensors) - 1}
            case dict() if all(isinstance(key, str | int) for key in item):
                return {"dict": [[key, walk(content)] for key, content in item.items()]}
            case list():
                return {"list": [walk(content) for content in item]}
            case tuple():
                return {"tuple": [walk(content) for content in item]}
            case None | bool() | int() | float() | str():
                return {"plain": item}
            case _:
                raise UserError(
                    f"{where} cannot be stored: got a {type(item).__name__}, expected tensors, "
                    "numbers, text and containers of these"
                )

    return walk(value), tensors


def put_together(structure: Any, tensors: list[Tensor]) -> Any:
    """Reassemble the result of :func:`take_apart`."""
    ((kind, content),) = structure.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "dict":
            return {key: put_together(item, tensors) for key, item in content}
        case "list":
            return [put_together(item, tensors) for item in content]
        case "tuple":
            return tuple(put_together(item, tensors) for item in content)
        case _:
            return content
