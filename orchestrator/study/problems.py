"""Turning pydantic errors into messages with file, line, column, value and expectation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from functools import cached_property
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.errors import Problem
from orchestrator.study.options import Options, parts_of
from orchestrator.study.yaml_nodes import Place, place_of_key, place_of_value
from orchestrator.study.yaml_text import token_ends

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
        self,
        keys: Sequence[Any],
        what: str,
        hint: str | None = None,
        *,
        code: str = "invalid",
        at_key: bool = False,
        within: str | None = None,
    ) -> Problem:
        """Return a problem at the value (or key) of ``keys``, or at the mapping that lacks it.

        Args:
            keys: Path of keys to the wrong value.
            what: The problem.
            hint: How to fix it.
            code: Kind of problem.
            at_key: Whether the last key is wrong, not its value.
            within: The wrong part of the text there, if not all of it is wrong.
        """
        path = ".".join(map(str, keys))
        for overridden, text in reversed(self.overrides):
            if tuple(keys[: len(overridden)]) == overridden:
                source = f"--set {text}"
                wrong = within or (str(keys[-1]).rpartition(".")[2] if at_key else None)
                start, width = _part_of_option(source, wrong)
                return Problem(source, path, what, hint, source, start + 1, code, width)
        line, column = self._place(keys, at_key)
        lines = self.text.splitlines()
        source_line = lines[line] if line < len(lines) else None
        width = self._width(line, column)
        if within is not None and source_line is not None:
            shift = source_line[column : column + width].find(within)
            column, width = (column + shift, len(within)) if shift >= 0 else (column, width)
        where = f"{self.name}:{line + 1}:{column + 1}"
        return Problem(where, path, what, hint, source_line, column + 1, code, width)

    def _width(self, line: int, column: int) -> int:
        """Return the characters of the token that starts at a place, in its first line."""
        last, end = self._ends.get((line, column), (line, column + 1))
        lines = self.text.splitlines()
        if last > line:
            end = len(lines[line].rstrip())
        return max(1, end - column)

    @cached_property
    def _ends(self) -> dict[Place, Place]:
        return token_ends(self.text) if self.text else {}

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


def _part_of_option(option: str, wrong: str | None) -> tuple[int, int]:
    """Return start and width of the wrong part of a ``--set`` option: by default its value."""
    start = option.rfind(wrong) if wrong else -1
    if wrong and start >= 0:
        return start, len(wrong)
    start = option.index("=") + 1
    return start, max(1, len(option) - start)


def describe(
    source: Source,
    error: ValidationError,
    model: type[BaseModel],
    prefix: Sequence[Any] = (),
) -> list[Problem]:
    """Return every problem of a failed validation once, in the order of the file."""
    problems = [problem for problem, _ in described(source, error, model, prefix)]
    return in_order(problems)


def described(
    source: Source,
    error: ValidationError,
    model: type[BaseModel],
    prefix: Sequence[Any] = (),
) -> list[tuple[Problem, Mending]]:
    """Return every problem of a failed validation, each with what would mend it."""
    return [
        _describe_one(source, item, model, prefix)
        for item in _merged(error.errors(include_url=False), source, prefix)
    ]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return each problem once, in the order of the file."""
    once: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        once.setdefault((problem.where, problem.what), problem)
    return sorted(once.values(), key=_order)


def _order(problem: Problem) -> tuple[int, int]:
    return (0, 0) if problem.line is None else (problem.line, problem.column or 0)


@dataclass(frozen=True)
class Mending:
    """The change that lets the rest of a study be checked after a problem.

    Attributes:
        keys: Path of keys to the wrong value, or to the wrong key.
        name: The name or key that was probably meant; None if none is close.
        kind: What is wrong there: ``name``, ``key`` or ``value``.
    """

    keys: tuple[Any, ...]
    name: str | None
    kind: str


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
) -> tuple[Problem, Mending]:
    keys, fields = _keys(source, error["loc"], model, prefix)
    kind, context, value = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "union_tag_invalid":
        return _unknown_name(source, keys, context)
    if kind == "extra_forbidden":
        key = str(keys[-1])
        what = f"{_owner(keys, error['loc'])} no key {key!r}"
        hint = did_you_mean(key, fields) or _all_of("key", fields)
        problem = source.problem(keys, what, hint, code="unknown-key", at_key=True)
        return problem, Mending(tuple(keys), closest(key, fields), "key")
    mending = Mending(tuple(keys), None, "value")
    if kind == "union":
        return source.problem(keys, error["msg"], code="wrong-type"), mending
    if kind == "missing":
        return source.problem(keys, "is missing", code="missing", at_key=True), mending
    if kind == "union_tag_not_found":
        what, hint = f"needs a name, got {short(value)}", "for example {name: …}"
        return source.problem(keys, what, hint, code="missing"), mending
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", context["expected"])
        what = f"got {short(value)}, expected {context['expected']}"
        near = did_you_mean(str(value), names)
        return source.problem(keys, what, near, code="unknown-name"), mending
    if kind == "value_error":
        wrong = context["error"]
        return source.problem(keys, str(wrong), getattr(wrong, "hint", None)), mending
    what, code = error["msg"].replace("Input should be", "should be"), "out-of-range"
    types = {
        "int_": "expected a whole number",
        "float_": "expected a number",
        "tuple_type": "expected a list",
        "list_type": "expected a list",
        "dict_type": "expected a mapping",
        "model_": "expected a mapping",
        "string_pattern_mismatch": "expected letters, digits, '_', '-' and '.', starting with a "
        "letter or digit",
    }
    for begin, expected in types.items():
        if kind.startswith(begin):
            what, code = expected, "wrong-type"
    return source.problem(keys, f"{what}, got {short(value)}", code=code), mending


_KINDS = {"data": "data set", "measures": "measure", "final_measures": "measure", "claims": "claim"}
"""What a study's keys name; any other key names itself."""


def _unknown_name(
    source: Source, keys: Sequence[Any], context: Mapping[str, Any]
) -> tuple[Problem, Mending]:
    """Return the problem of a part whose name does not exist, at its name."""
    tag = context["tag"]
    names = _names(context["expected_tags"])
    words = [key for key in keys if isinstance(key, str)]
    kind = words[-1] if words else "part"
    for word in words[:1]:
        kind = _KINDS.get(word, kind)
    node = _value(source.tree, keys)
    at_key = False
    if isinstance(node, Mapping):
        at_key = "name" not in node and tag in node
        keys = [*keys, tag if at_key else "name"]
    elsewhere = _elsewhere(kind, tag)
    hint = elsewhere or did_you_mean(tag, names) or _all_of(kind, names)
    if not hint.startswith(("did", "that")):
        if "'stated'" in context["expected_tags"]:
            hint += ", or your own with a statement"
        elif "'custom'" in context["expected_tags"]:  # Some components cannot be user-defined.
            hint += ", or your own as package.module:name"
    what = f"there is no {kind} {tag!r}"
    problem = source.problem(keys, what, hint, code="unknown-name", at_key=at_key)
    meant = names[0] if elsewhere else closest(tag, names)
    return problem, Mending(tuple(keys), meant, "key" if at_key else "name")


def _elsewhere(kind: str, name: str) -> str | None:
    """Return where a name belongs that exists, but as another kind of part."""
    from orchestrator.study.claim_options import CLAIM_NEEDS
    from orchestrator.study.measure_options import BUILT_IN_OPTIONS, name_of

    if kind == "measure" and name in CLAIM_NEEDS:
        return "that is a claim: move it under `claims:`"
    if kind == "claim" and name in map(name_of, BUILT_IN_OPTIONS):
        return "that is a measure: move it under `measures:`"
    return None


def _owner(keys: Sequence[Any], loc: Sequence[Any]) -> str:
    """Return who lacks the last key, with its verb: ``optimizer 'sgd' has``."""
    words = [key for key in keys[:-1] if isinstance(key, str)]
    if not words:
        return "a study has"
    part = loc[-2] if len(loc) > 1 else None
    if not isinstance(part, str) or part in (*words, "stated"):
        return f"{words[-1]} has"
    return f"{_KINDS.get(words[-1], words[-1])} {part!r} has"


def _all_of(kind: str, names: Sequence[str]) -> str:
    most = 12
    if len(names) <= most:
        return f"expected one of {', '.join(names)}"
    return f"`orchestrator schema` lists all {len(names)} {kind}s"


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


def closest(got: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``got``, or None if none is."""
    close = get_close_matches(got, list(known), 1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(got: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean 'epochs'?`` if known names are close, five at most, else None."""
    close = get_close_matches(got, list(known), 5, cutoff=0.6)
    likeness = [SequenceMatcher(a=name, b=got).ratio() for name in close]
    likely = [
        repr(name) for name, like in zip(close, likeness, strict=True) if like > max(likeness) - 0.1
    ]
    if not likely:
        return None
    *others, last = likely
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def short(value: Any) -> str:
    """Return ``value`` as text for a message, truncated if long."""
    from orchestrator.study.yaml_nodes import plain

    text = repr(plain(value)) if value is not None else "nothing"
    return text if len(text) <= 60 else text[:57] + "…"
