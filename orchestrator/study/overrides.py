"""``--set path=value``: the only way to override a study file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ruamel.yaml.comments import CommentedMap

from orchestrator.errors import Problem, StudyFileError
from orchestrator.study.sweep_options import KINDS, RANDOM
from orchestrator.study.yaml_text import YamlTextError, read_yaml

if TYPE_CHECKING:
    from orchestrator.study.problems import Source


def apply_override(source: Source, text: str) -> None:
    """Set one value in the tree of ``source``.

    Args:
        source: The study file; it records the override for error messages.
        text: ``path=value``; the value is YAML 1.2.

    Raises:
        StudyFileError: If ``text`` is not ``path=value``, or the path leads through a scalar.
    """
    path, equals, value_text = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise _refuse(text, "", "expected path=value", "for example --set training.batch_size=32")
    try:
        value = read_yaml(value_text)
    except YamlTextError as error:
        what = f"{value_text!r} is not valid YAML: {error.what}"
        raise _refuse(text, path, what, error.hint) from None
    node: Any = source.tree
    done: tuple[Any, ...] = ()
    while True:
        key, keys = _next_key(node, keys, done)
        done += (key,)
        if not keys:
            break
        node = _child(node, key, text, path)
    if isinstance(node, list) and not (isinstance(key, int) and key < len(node)):
        raise _refuse(text, path, f"no item {key!r} in a list of {len(node)}")
    node[key] = value
    source.overrides.append((done, text))


def _next_key(node: Any, keys: list[str], done: tuple[Any, ...]) -> tuple[Any, list[str]]:
    if isinstance(node, list):
        return (int(keys[0]) if keys[0].isdigit() else keys[0]), keys[1:]
    # Keys of a sweep contain dots.
    if done == ("sweep",) and keys[0] != RANDOM:
        return ".".join(keys), []
    if done == ("sweep", RANDOM, "of"):
        *path, last = keys
        if last in KINDS and ".".join(path) in node:
            return ".".join(path), [last]
        return ".".join(keys), []
    return keys[0], keys[1:]


def _child(node: Any, key: Any, text: str, path: str) -> Any:
    if isinstance(node, list):
        if not (isinstance(key, int) and key < len(node)):
            raise _refuse(text, path, f"no item {key!r} in a list of {len(node)}")
        child = node[key]
    else:
        child = node.get(key)
    if child is None:
        child = CommentedMap()
    elif isinstance(child, str):
        child = CommentedMap({"name": child})  # A short form such as ``model: mlp``.
    elif not isinstance(child, Mapping | list):
        raise _refuse(text, path, f"{key} is {child!r}, which has no keys")
    node[key] = child
    return child


def _refuse(text: str, path: str, what: str, hint: str | None = None) -> StudyFileError:
    return StudyFileError([Problem(f"--set {text}", path, what, hint, code="override")])
