"""The design of a study: its axes, and whether their levels were listed or drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.study.columns import path_columns
from orchestrator.study.sweep_options import RANDOM, axis_paths

_WORDS = {
    "log": "log-uniform from {} to {}",
    "uniform": "uniform from {} to {}",
    "integer": "uniform integer from {} to {}",
    "log_integer": "log-uniform integer from {} to {}",
    "choice": "one of {values}",
}


@dataclass(frozen=True)
class DesignAxis:
    """One axis of a study's grid. Conditions are all combinations of one level per axis.

    Attributes:
        paths: Dotted paths that one level sets together.
        title: Name of the axis, from the columns of its paths: ``learning rate, width``.
        levels: Number of levels.
        drawn: Whether the levels were drawn at random, independently of each other, from
            distributions stated in the study. Otherwise they were listed.
    """

    paths: tuple[str, ...]
    title: str
    levels: int
    drawn: bool


def design_axes(study: Mapping[str, Any]) -> tuple[DesignAxis, ...]:
    """Return the axes of a study, the one drawn at random first. Seeds are not an axis.

    All paths of a random search form one axis, whose levels are the drawn conditions. Crossed
    with other axes, each level gives several conditions, which are not independent draws.

    Args:
        study: The study as plain values, as a results folder stores it.
    """
    sweep = study.get("sweep", {})
    found = []
    if RANDOM in sweep:
        search = sweep[RANDOM]
        paths = tuple(path for key in search["of"] for path in axis_paths(key))
        found.append((paths, search["conditions"], True))
    for key, values in sweep.items():
        if key != RANDOM:
            found.append((axis_paths(key), len(values), False))
    columns = path_columns(path for paths, *_ in found for path in paths)
    return tuple(
        DesignAxis(
            paths, ", ".join(columns[path].replace("_", " ") for path in paths), levels, drawn
        )
        for paths, levels, drawn in found
    )


def ranged_columns(study: Mapping[str, Any]) -> frozenset[str]:
    """Return the columns of ``trials`` whose values are drawn from a range and rarely repeat.

    Args:
        study: The study as plain values.
    """
    of = study.get("sweep", {}).get(RANDOM, {}).get("of", {})
    ranged = {path for key, draw in of.items() if "choice" not in draw for path in axis_paths(key)}
    columns = path_columns(path for axis in design_axes(study) for path in axis.paths)
    return frozenset(columns[path] for path in ranged)


def conditions(study: Mapping[str, Any]) -> int:
    """Return the number of conditions of a study."""
    return math.prod(axis.levels for axis in design_axes(study))


def describe_design(study: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines on how conditions are drawn and crossed; none without a random search."""
    search = study.get("sweep", {}).get(RANDOM)
    if search is None:
        return
    seeds = study.get("seeds", 1)
    factors = [f"{search['conditions']} conditions drawn at random (seed {search['seed']})"]
    factors += [
        f"{axis.levels} values of {axis.title}" for axis in design_axes(study) if not axis.drawn
    ]
    count = seeds if isinstance(seeds, int) else len(seeds)
    factors += [f"{count} seed{'s' * (count != 1)}"]
    yield f"design: {' × '.join(factors)}"
    yield from (f"  {path}: {how}" for path, how in drawn_texts(study))


def drawn_texts(study: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each randomly drawn path with its distribution: ``log-uniform from 0.001 to 1``."""
    search = study.get("sweep", {}).get(RANDOM, {"of": {}})
    for key, distribution in search["of"].items():
        ((kind, given),) = distribution.items()
        yield key, _WORDS[kind].format(*map(_short, given), values=", ".join(map(_short, given)))


def _short(value: Any) -> str:
    """Format a value without a needless ``.0`` or exponent."""
    text = f"{value:g}" if isinstance(value, float) else value_text(value)
    return text if not isinstance(value, float) or float(text) == value else str(value)


def value_text(value: Any) -> str:
    """Format a value as in a study file."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {value_text(v)}" for key, v in value.items()) + "}"
    return str(value)
