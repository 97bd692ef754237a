"""The axes of a sweep, and the configurations at the points of its grid."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.study.spec import Study
from orchestrator.study.sweep_options import by_path

_PARTS = ("data", "model", "training")
_NAMED = (
    ("data",),
    ("model",),
    ("training", "loss"),
    ("training", "optimizer"),
    ("training", "schedule"),
)


def axes(study: Study) -> list[list[dict[str, Any]]]:
    """Return the levels of each axis, as dotted path → value.

    Conditions drawn at random come first, then the listed axes in the order of the file.

    Raises:
        ValueError: If a coupled axis has a row of the wrong length.
    """
    search = study.sweep.random
    drawn = [] if search is None else [list(map(search.condition, range(search.conditions)))]
    listed = study.sweep.listed.items()
    return drawn + [[by_path(key, value) for value in values] for key, values in listed]


def base_content(study: Study) -> dict[str, Any]:
    """Return data, model and training as in the study file, with the names of the defaults.

    Parts that no axis changes stay validated objects, so they are not validated at each point.
    """
    content = study.model_dump(mode="json", exclude_unset=True, include=set(_PARTS))
    swept = study.sweep.paths
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
    """Return whether a path lies in ``part``, or sets a mapping that contains ``part``."""
    return any(f"{path}.".startswith(f"{part}.") or part.startswith(f"{path}.") for path in swept)


def with_values(content: Mapping[str, Any], swept: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``content`` with dotted paths set.

    Shorter paths are set first, so that ``model`` and ``model.width`` can be swept together.
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
    """Yield the points of the grid, as dotted path → value."""
    for levels in itertools.product(*axes(study)):
        yield {path: value for level in levels for path, value in level.items()}
