"""The axes of a study's grid, and the level of each network on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.reporting.data.hue import level_text
from orchestrator.study.design import design_axes

Settings = Mapping[str, Any]


def grid_axes(study: Mapping[str, Any], params: Sequence[str | None]) -> dict[str, tuple[str, ...]]:
    """Return the title of each axis → the level of each network on it.

    Hyperparameters that vary together form one axis: coupled ones, or a whole section of the study
    (an optimizer with its options). All paths of a random search also form one axis, whose levels
    are the drawn conditions.

    Args:
        study: The resolved study, whose ``sweep`` names the axes.
        params: Settings of each network, as JSON.

    Returns:
        Only axes on which networks differ.
    """
    networks = [json.loads(text or "{}") for text in params]
    found = {}
    for axis in design_axes(study):
        settings = [dict(_settings(network, axis.paths)) for network in networks]
        names = list(dict.fromkeys(name for one in settings for name in one))
        varied = [name for name in names if len({_text(one, name) for one in settings}) > 1]
        if varied:
            found[axis.title] = tuple(_level(one, varied) for one in settings)
    return found


def _settings(network: Settings, paths: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and value of everything at or below the paths."""
    for path in paths:
        value: Any = network
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        yield from _leaves(path, value)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield path, value
    else:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)


def _level(settings: Settings, varied: Sequence[str]) -> str:
    """Format names first, then nonzero options: ``sgd, weight decay 0.001``."""
    if len(varied) == 1:
        return _text(settings, varied[0])
    present = [name for name in varied if settings.get(name)]
    present.sort(key=lambda name: not name.endswith(".name"))
    parts = [
        f"{'' if name.endswith('.name') else f'{_last(name)} '}{_text(settings, name)}"
        for name in present
    ]
    return ", ".join(parts) or level_text(None)


def _text(settings: Settings, name: str) -> str:
    return level_text(settings.get(name))


def _last(path: str) -> str:
    return path.rpartition(".")[2].replace("_", " ")
