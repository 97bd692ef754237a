"""The common style of all figures: readable in light and dark mode, in print and without colour.

Ink is ``currentColor``, which the page sets, so one drawing serves both modes. The palette is that
of Okabe and Ito ("Color universal design", 2008) without black, which is replaced by ink. Hues
with more levels use viridis without its ends, which are invisible on dark or light backgrounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
from altair.utils import schemapi

from orchestrator.reporting.data.hue import MOST_NAMED, Hue
from orchestrator.reporting.figures.scales import six_digits

INK = "currentColor"
MARGIN_TITLE = "mean margin (logits)"
TRACE_TITLE = "Hessian trace (loss / weight², log)"
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#B8A900")
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
PANEL_WIDTH = 280
PANEL_HEIGHT = 230
WIDE = 700

_AXIS = {
    "labelColor": INK,
    "titleColor": INK,
    "domainColor": INK,
    "domainOpacity": 0.5,
    "tickColor": INK,
    "tickOpacity": 0.5,
    "gridColor": INK,
    "gridOpacity": 0.12,
    "labelFontSize": 11,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "labelOverlap": True,
    "labelLimit": 300,
}
_LEGEND = {
    "orient": "bottom",
    "labelColor": INK,
    "titleColor": INK,
    "labelFontSize": 11,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "labelLimit": 320,
    "symbolStrokeWidth": 1.5,
    "symbolOpacity": 1,
    "columns": 4,
    "layout": {"bottom": {"direction": "vertical", "anchor": "start"}},
}
_CONFIG: dict[str, Any] = {
    "view": {"stroke": None},
    # No ARIA label per mark: hundreds help nobody; the table does.
    "aria": False,
    "axis": _AXIS,
    "background": "transparent",
    "concat": {"spacing": 28},
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "legend": _LEGEND,
    "title": {"color": INK, "fontSize": 13, "anchor": "start", "fontWeight": 600},
}
alt.theme.register("report", enable=False)(lambda: {"config": _CONFIG})


def themed(chart: Any, room: int = 70) -> dict[str, Any]:
    """Return the Vega-Lite specification of a finished chart in the style of the page.

    The theme that the caller has enabled in Altair is neither used nor changed. The chart is
    validated unless Altair's debug mode is off, as it is while a report is drawn: validation takes
    longer than drawing, so the tests do it.

    Args:
        chart: An Altair chart whose views have a fixed width.
        room: Pixels beside each view for its axis; the page uses it to fit narrow screens.
    """
    with alt.theme.enable("report"):
        specification: dict[str, Any] = chart.to_dict(validate=schemapi.DEBUG_MODE)
    # Nothing fetches this URL, but it would look as if the page did.
    del specification["$schema"]
    return {**specification, "usermeta": {"room": room}}


def data(rows: Iterable[Mapping[str, Any]]) -> alt.Data:
    """Return rows as rounded inline data of a chart."""
    # Altair copies lists, row by row, whenever charts are combined, but not tuples.
    return alt.Data(values=tuple(rounded(rows)))


def rounded(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Round all numbers to six significant digits: more would be invisible and cost bytes."""
    return [{name: _shown(value) for name, value in row.items()} for row in rows]


def hue_scale(hue: Hue) -> alt.Scale:
    """Return a scale with one colour per level."""
    levels = list(hue.levels)
    if len(levels) <= MOST_NAMED:
        return alt.Scale(domain=levels, range=list(OKABE_ITO[: len(levels)]))
    scheme = alt.SchemeParams(name="viridis", extent=[0.15, 0.9])
    return alt.Scale(domain=levels, scheme=scheme)


def hue_color(hue: Hue | None, channel: Any = alt.Color) -> Any:
    """Return a colour channel for the field ``hue``, or a single colour without a hue."""
    if hue is None:
        return alt.value(OKABE_ITO[4])
    # Sort by the domain of the scale: as text, 1024 would come before 16.
    return channel(
        "hue:N",
        title=hue.title,
        scale=hue_scale(hue),
        sort=list(hue.levels),
        legend=alt.Legend(symbolLimit=30, **_labelled(hue.levels)),
    )


def _labelled(levels: Sequence[str]) -> dict[str, Any]:
    """Label only some of many numeric levels: colours of the others lie in between."""
    if len(levels) <= MOST_NAMED or not all(map(_is_number, levels)):
        return {}
    last = len(levels) - 1
    places = (round(last * place / (MOST_NAMED - 1)) for place in range(MOST_NAMED))
    return {"values": [levels[place] for place in places]}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def hue_shape(hue: Hue | None) -> Any:
    """Return a shape channel that shares the hue's legend; circles only if levels are too many."""
    if hue is None or len(hue.levels) > len(SHAPES):
        return alt.value(SHAPES[0])
    levels = list(hue.levels)
    scale = alt.Scale(domain=levels, range=list(SHAPES[: len(levels)]))
    return alt.Shape("hue:N", title=hue.title, scale=scale, sort=levels)


def _shown(value: Any) -> Any:
    """Round a number to six digits; return None if it is not finite, which JSON does not allow."""
    if not isinstance(value, float):
        return value
    return six_digits(value) if math.isfinite(value) else None
