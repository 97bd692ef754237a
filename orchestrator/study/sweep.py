"""The axes of a sweep, and how a point of the grid changes a configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.study.spec import Study

_PARTS = ("data", "model", "training")
_NAMED = (
    ("data",),
    ("model",),
    ("training", "loss"),
    ("training", "optimizer"),
    ("training", "schedule"),
)


@dataclass(frozen=True)
class Axis:
    """One key of ``sweep``: a dotted path, or several coupled ones, and its values.

    Attributes:
        key: As it stands in the study file.
        paths: The dotted paths it sets.
        rows: For each point of the axis, one value for each path.
    """

    key: str
    paths: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def axis_paths(key: str) -> tuple[str, ...]:
    """The dotted paths of a sweep's key; ``"a, b"`` couples two."""
    return tuple(part.strip() for part in key.split(","))


def axes(study: Study) -> tuple[Axis, ...]:
    """The axes of a study, in the order of its file.

    Raises:
        ValueError: If a coupled axis has a row of the wrong length.
    """
    found = []
    for key, values in study.sweep.items():
        paths = axis_paths(key)
        rows = []
        for value in values:
            row = tuple(value) if len(paths) > 1 and isinstance(value, list | tuple) else (value,)
            if len(row) != len(paths):
                raise ValueError(f"{key}: {len(paths)} values each, got {value!r}")
            rows.append(row)
        found.append(Axis(key, paths, tuple(rows)))
    return tuple(found)


def base_content(study: Study) -> dict[str, Any]:
    """What the study file says of data, model and training, with the names of the defaults.

    Parts that no axis changes stay as they were validated, which is done once, not at each point.
    """
    content = study.model_dump(mode="json", exclude_unset=True, include=set(_PARTS))
    swept = {path for axis in axes(study) for path in axis.paths}
    for *parents, last in _NAMED:
        part, at = study, content
        for key in parents:
            part, at = getattr(part, key), at[key]
        part = getattr(part, last)
        if _is_swept(".".join([*parents, last]), swept):
            at.setdefault(last, {})["name"] = part.name
        else:
            at[last] = part
    return content


def _is_swept(part: str, swept: Iterable[str]) -> bool:
    """Whether a path lies in ``part``, or ``part`` in what a path sets."""
    return any(f"{path}.".startswith(f"{part}.") or part.startswith(f"{path}.") for path in swept)


def with_values(content: Mapping[str, Any], swept: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``content`` with dotted paths set.

    Shorter paths come first, so that ``model`` and ``model.width`` can be swept together.
    """
    result = dict(content)
    for path, value in sorted(swept.items(), key=lambda item: item[0].count(".")):
        at = result
        *parents, last = path.split(".")
        for key in parents:
            child = at.get(key)
            # A short form such as ``optimizer: sam`` grows into a mapping.
            child = {"name": child} if isinstance(child, str) else dict(child or {})
            at[key] = child
            at = child
        at[last] = value
    return result


def grid(study: Study) -> Iterator[dict[str, Any]]:
    """The points of the grid: dotted path → value."""
    found = axes(study)
    for rows in itertools.product(*(axis.rows for axis in found)):
        point: dict[str, Any] = {}
        for axis, row in zip(found, rows, strict=True):
            point.update(zip(axis.paths, row, strict=True))
        yield point
