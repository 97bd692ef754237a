"""The axes of a sweep, and how a point of the grid changes a configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.study.columns import axis_paths as axis_paths
from orchestrator.study.spec import Study

_PARTS = ("data", "model", "training")
_NAMED = (("data",), ("model",), ("training", "loss"), ("training", "optimizer"))


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
    """What the study file says of data, model and training, with the names of the defaults."""
    content = study.model_dump(mode="json", exclude_unset=True, include=set(_PARTS))
    for path in _NAMED:
        part: Any = study
        at = content
        for key in path:
            part, at = getattr(part, key), at.setdefault(key, {})
        at["name"] = part.name
    schedule = content["training"].setdefault("schedule", {})
    schedule["name"] = study.training.schedule.name
    return content


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
    for rows in itertools.product(*(axis.rows for axis in axes(study))):
        point: dict[str, Any] = {}
        for axis, row in zip(axes(study), rows, strict=True):
            point.update(zip(axis.paths, row, strict=True))
        yield point
