"""Reading a ruamel.yaml tree: plain values, and the location of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Place = tuple[int, int]


def plain(node: Any) -> Any:
    """Convert ``node`` to built-in dicts, lists and scalars."""
    if isinstance(node, Mapping):
        return {_scalar(key): plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple | set):
        return [plain(item) for item in node]
    return _scalar(node)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if type(value).__name__ == "ScalarBoolean":
        return bool(value)
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def place_of_key(node: Any, key: Any) -> Place | None:
    """Return the 0-based line and column of ``key`` in a mapping, or of an item in a list."""
    try:
        line, column = node.lc.key(key) if hasattr(node, "keys") else node.lc.item(key)
    except (AttributeError, KeyError, IndexError, TypeError):
        return None
    return line, column


def place_of_value(node: Any, key: Any) -> Place | None:
    """Return the 0-based line and column of the value at ``key``; of the key for a mapping."""
    value = node[key]
    if isinstance(value, Mapping):
        return place_of_key(node, key)
    try:
        line, column = node.lc.value(key) if hasattr(node, "keys") else node.lc.item(key)
    except (AttributeError, KeyError, IndexError, TypeError):
        return None
    return line, column
