"""Writes ``docs/measures.md``: what each built-in measure is, from its own file.

``python -m orchestrator.measures.documentation > docs/measures.md``
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator

from orchestrator.measures.base import BUILT_IN, CatalogEntry
from orchestrator.study.measure_options import BUILT_IN_OPTIONS, MeasureOptions, name_of

_TITLES = {
    "margins": "Margins",
    "curvature": "Curvature",
    "sharpness": "Sharpness",
    "norms": "Norms",
    "robustness": "Distances of inputs, and robustness",
}
_HEAD = """\
# Measures

Every measure that a study file can ask for by name, in `measures` or `final_measures`, or later
with `measure RESULTS NAME`. Options in a study file are written `{sam_sharpness: {rho: 0.1}}`.
*Direction* says whether higher or lower values mean larger margins, flatter minima or less
complexity. *Cost* counts forward passes (F) and gradients (G) over the measured examples.
*Unchanged by* names the changes of the weights that leave the value as it is. Your own measures:
[README](../README.md#your-own-parts).

This page is written by `python -m orchestrator.measures.documentation > docs/measures.md`.
"""


def measures_page() -> str:
    """The page, in Markdown."""
    parts, family = [_HEAD], ""
    for options in BUILT_IN_OPTIONS:
        here = options.__module__.rpartition(".")[2]
        if here != family:
            parts.append(f"## {_TITLES[here]}\n")
            family = here
        parts += _section(options)
    return "\n".join(parts)


def _section(options: type[MeasureOptions]) -> Iterator[str]:
    measure = BUILT_IN[options](options.model_validate({"name": name_of(options)}))
    yield f"### `{name_of(options)}`\n"
    yield f"{inspect.getdoc(type(measure))}\n".replace("``", "`")
    fields = {name: field for name, field in options.model_fields.items() if name != "name"}
    if fields:
        yield "| option | default | |\n|---|---|---|"
        for name, field in fields.items():
            default = json.dumps(field.default, default=list)
            yield _row(f"`{name}`", f"`{default}`", field.description or "")
        yield ""
    yield "| value | symbol | unit | direction | source | cost | unchanged by |"
    yield "|---|---|---|---|---|---|---|"
    yield from map(_entry, measure.entries)
    yield ""


def _entry(entry: CatalogEntry) -> str:
    return _row(
        f"`{entry.measure}`",
        entry.symbol,
        entry.unit,
        entry.direction,
        entry.citation,
        entry.cost,
        entry.invariances,
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(measures_page(), end="")
