"""Turning pydantic errors into messages with file, line, column, value and expectation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.errors import Problem
from orchestrator.study.options import Options, parts_of
from orchestrator.study.yaml_nodes import Place, place_of_key, place_of_value

_POSITIONS = "a list of whole numbers, {every: n} or {log_spaced: n}"
_SEEDS = "a whole number of at least 1, or a list of distinct seeds of at least 0"


@dataclass
class Source:
    """A study file being checked.

    Attributes:
        name: Path of the file, as given by the user.
        text: Content of the file.
        tree: The tree that ruamel.yaml read.
        overrides: Path of keys → the ``--set`` text that set it.
    """

    name: str
    text: str
    tree: Any
    overrides: list[tuple[tuple[Any, ...], str]] = field(default_factory=list)

    def problem(
        self, keys: Sequence[Any], what: str, hint: str | None = None, *, at_key: bool = False
    ) -> Problem:
        """Return a problem at the value (or key) of ``keys``, or at the mapping that lacks it."""
        path = ".".join(map(str, keys))
        for overridden, text in reversed(self.overrides):
            if tuple(keys[: len(overridden)]) == overridden:
                return Problem(f"--set {text}", path, what, hint)
        line, column = self._place(keys, at_key)
        lines = self.text.splitlines()
        source = lines[line] if line < len(lines) else None
        where = f"{self.name}:{line + 1}:{column + 1}"
        return Problem(where, path, what, hint, source, column + 1)

    def _place(self, keys: Sequence[Any], at_key: bool) -> Place:
        node, place = self.tree, (0, 0)
        for depth, key in enumerate(keys):
            if not _holds(node, key):
                break
            last = depth == len(keys) - 1
            found = place_of_key(node, key) if at_key or not last else place_of_value(node, key)
            place = found or place
            node = node[key]
        return place


def describe(
    source: Source,
    error: ValidationError,
    model: type[BaseModel],
    prefix: Sequence[Any] = (),
) -> list[Problem]:
    """Return every problem of a failed validation once, in the order of the file."""
    problems: dict[tuple[str, str], Problem] = {}
    for item in _merged(error.errors(include_url=False), source, prefix):
        problem = _describe_one(source, item, model, prefix)
        problems.setdefault((problem.where, problem.what), problem)
    return sorted(problems.values(), key=_order)


def _order(problem: Problem) -> tuple[int, int]:
    match = re.search(r":(\d+):(\d+)$", problem.where)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _merged(
    errors: Iterable[Any], source: Source, prefix: Sequence[Any]
) -> Iterable[dict[str, Any]]:
    """Merge the errors of all members of a plain union into one."""
    seen = set()
    for error in errors:
        loc = error["loc"]
        for union, expected in (
            (("checkpoints", "epochs"), _POSITIONS),
            (("checkpoints", "updates"), _POSITIONS),
            (("seeds",), _SEEDS),
        ):
            if not prefix and loc[: len(union)] == union and error["type"] != "value_error":
                value = _value(source.tree, union)
                if union not in seen:
                    seen.add(union)
                    what = f"expected {expected}, got {short(value)}"
                    yield {**error, "loc": union, "type": "union", "msg": what}
                break
        else:
            yield dict(error)


def _value(tree: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        if not _holds(tree, key):
            return None
        tree = tree[key]
    return tree


def _holds(node: Any, key: Any) -> bool:
    if isinstance(node, Mapping):
        return key in node
    return isinstance(node, list) and isinstance(key, int) and key < len(node)


def _describe_one(
    source: Source, error: dict[str, Any], model: type[BaseModel], prefix: Sequence[Any]
) -> Problem:
    keys, fields = _keys(source, error["loc"], model, prefix)
    kind, context, value = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "union":
        return source.problem(keys, error["msg"])
    if kind == "extra_forbidden":
        hint = did_you_mean(str(keys[-1]), fields)
        return source.problem(keys, f"unknown key {keys[-1]!r}", hint, at_key=True)
    if kind == "missing":
        return source.problem(keys, "is missing", at_key=True)
    if kind == "union_tag_invalid":
        names = _names(context["expected_tags"])
        tag = context["tag"]
        own = ""  # Some components cannot be user-defined.
        if "'stated'" in context["expected_tags"]:
            own = ", or your own with a statement"
        elif "'custom'" in context["expected_tags"]:
            own = ", or your own as package.module:name"
        hint = did_you_mean(tag, names) or f"expected one of {', '.join(names)}{own}"
        return source.problem(keys, f"unknown name {tag!r}, expected {', '.join(names)}", hint)
    if kind == "union_tag_not_found":
        return source.problem(keys, f"needs a name, got {short(value)}", "for example {name: …}")
    if kind == "literal_error":
        hint = did_you_mean(str(value), re.findall(r"'([^']*)'", context["expected"]))
        return source.problem(keys, f"got {short(value)}, expected {context['expected']}", hint)
    if kind == "value_error":
        wrong = context["error"]
        return source.problem(keys, str(wrong), getattr(wrong, "hint", None))
    what = error["msg"].replace("Input should be", "should be")
    if kind.startswith("int_"):
        what = "expected a whole number"
    elif kind.startswith("float_"):
        what = "expected a number"
    elif kind in {"tuple_type", "list_type"}:
        what = "expected a list"
    elif kind in {"dict_type", "model_type", "model_attributes_type"}:
        what = "expected a mapping"
    elif kind == "string_pattern_mismatch":
        what = "expected letters, digits, '_', '-' and '.', starting with a letter or digit"
    return source.problem(keys, f"{what}, got {short(value)}")


def _names(expected_tags: str) -> list[str]:
    tags = re.findall(r"'([^']*)'", expected_tags)
    return [tag for tag in tags if tag not in {"custom", "stated"}]


def _keys(
    source: Source, loc: Sequence[Any], model: type[BaseModel], prefix: Sequence[Any]
) -> tuple[list[Any], list[str]]:
    """Return the file's keys that ``loc`` names, without union tags, and the fields there."""
    keys = list(prefix)
    node = _value(source.tree, prefix)
    current: list[type[BaseModel]] = [model]
    for position, element in enumerate(loc):
        last = position == len(loc) - 1
        fields: list[FieldInfo] = [
            found.model_fields[element]
            for found in current
            if isinstance(element, str) and element in found.model_fields
        ]
        tagged = [found for found in current if _is_tag(found, element)]
        if _holds(node, element):
            node = node[element]
            keys.append(element)
        elif not fields and tagged:
            current = tagged
            if element == "stated" and "name" not in node:  # ``{my_claim: {…}}``
                (inner,) = node
                node = node[inner]
                keys.append(inner)
            continue
        elif last or fields:
            keys.append(element)
            node = None
        else:
            continue
        if last:
            break
        if fields:
            current = [m for found in fields for m in models_of(found.annotation)]
        elif tagged:
            current = tagged  # ``{hessian_trace: {…}}``: a key that is also a tag.
    known = [name for found in current for name in found.model_fields]
    return keys, list(dict.fromkeys(known))


def _is_tag(model: type[BaseModel], tag: Any) -> bool:
    name = model.model_fields.get("name")
    named = name is not None and tag in get_args(name.annotation)
    return named or (tag, model.__name__) == ("stated", "StatedClaim")


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models that an annotation allows, including those inside unions."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, Options):
            return [*parts_of(annotation)]
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [found for part in get_args(annotation) for found in models_of(part)]


def did_you_mean(got: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean 'epochs'?`` if a known name is close, else None."""
    close = get_close_matches(got, list(known), 1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None


def short(value: Any) -> str:
    """Return ``value`` as text for a message, truncated if long."""
    from orchestrator.study.yaml_nodes import plain

    text = repr(plain(value)) if value is not None else "nothing"
    return text if len(text) <= 60 else text[:57] + "…"
