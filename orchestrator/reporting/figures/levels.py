"""The levels of a hue that fit into a figure with many parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from orchestrator.reporting.data.hue import Hue, level_text
from orchestrator.reporting.data.open_results import Rows

ALL = "all networks"


def narrowed(hue: Hue | None, most: int) -> tuple[Hue | None, str]:
    """Reduce the hue to at most ``most`` levels, evenly spaced.

    Returns:
        The hue, and a sentence about the omitted levels or "".
    """
    if hue is None or len(hue.levels) <= most:
        return hue, ""
    last = len(hue.levels) - 1
    chosen = sorted({round(i * last / (most - 1)) for i in range(most)})
    kept = replace(hue, levels=tuple(hue.levels[place] for place in chosen))
    return kept, f"Shown: {len(chosen)} of {len(hue.levels)} levels of {hue.title}."


def by_level(rows: Rows, hue: Hue | None) -> Iterator[dict[str, Any]]:
    """Yield rows of the levels in ``hue`` as records, with ``level`` renamed to ``hue``."""
    for values in rows.tuples():
        record = dict(zip(rows.columns, values, strict=True))
        level = record.pop("level")
        record["hue"] = level_text(level) if hue else ALL
        if hue is None or record["hue"] in hue.levels:
            yield record


def finite(records: Iterable[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Return the records whose named values are all present and finite; means can overflow."""
    return [
        record
        for record in records
        if all(record[name] is not None and math.isfinite(record[name]) for name in names)
    ]


def levels_of(hue: Hue | None) -> tuple[str, ...]:
    """Return the possible values of ``hue`` in records."""
    return hue.levels if hue else (ALL,)


def level_title(hue: Hue | None, level: str) -> str:
    """Return a level as the title of its panel."""
    return f"{hue.title} {level}" if hue else level
