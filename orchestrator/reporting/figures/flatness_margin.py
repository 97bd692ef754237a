"""Margin against flatness, with batch size as colour and milestone as shape."""

from __future__ import annotations

from typing import Any

import altair as alt

from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.figures.points import Points, collect_points, milestone_shape, tooltips
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import linear, logarithmic
from orchestrator.reporting.figures.theme import (
    MARGIN_TITLE,
    TRACE_TITLE,
    data,
    hue_color,
    themed,
)
from orchestrator.statistics.claim import joined
from orchestrator.statistics.claims import TRAIN_ERROR_THRESHOLD

_MEASURES = ("margin_mean", "hessian_trace")
HEADLINE_WIDTH = 320
"""Pixels of the panel, which stands beside the verdicts."""


@ReportFigure("flatness-margin", "Margin against flatness", place=20)
def flatness_margin_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot every measured snapshot by its Hessian trace and mean margin."""
    missing = [name for name in _MEASURES if not source.has(name)]
    if missing:
        raise Missing(f"No snapshot has a {' or a '.join(missing)}.")
    points = collect_points(source, hue, _MEASURES)
    if not points.records:
        reason = f"No snapshot has a finite margin and a positive trace. {points.excluded}"
        raise Missing(reason.strip(), points.query)
    small = sum(error <= TRAIN_ERROR_THRESHOLD for error in points.column("train_error"))
    colour = f"coloured by {hue.title} and " if hue else ""
    sentences = [
        "Each point is one snapshot of one network: its Hessian trace and mean margin, both "
        f"on the training set, {colour}shaped by the milestone at which it was taken. Points with "
        f"a training error above {TRAIN_ERROR_THRESHOLD:g} are faint; the other {small:,} are not.",
        points.sampled,
        points.excluded,
    ]
    return Drawn(
        caption=joined(sentences),
        interaction="Click a colour in the legend to show only its points." if hue else "",
        alternative=(
            f"Scatter plot of {len(points.records)} snapshots: Hessian trace from "
            f"{min(points.column('hessian_trace')):.3g} to "
            f"{max(points.column('hessian_trace')):.3g} on a logarithmic axis, mean margin from "
            f"{min(points.column('margin_mean')):.3g} to {max(points.column('margin_mean')):.3g}."
        ),
        queries=(points.query,),
        table=points.table(hue),
        chart=_chart(points, hue),
    )


def _chart(points: Points, hue: Hue | None) -> Any:
    traces = logarithmic(points.column("hessian_trace"), most=10)
    margins = linear(points.column("margin_mean"), most=9)
    x = traces.x("hessian_trace:Q", f"{TRACE_TITLE[:-1]}; flatter to the left)")
    y = margins.y("margin_mean:Q", MARGIN_TITLE)
    faint = f"datum.train_error > {TRAIN_ERROR_THRESHOLD:g}"
    opacity: Any = alt.condition(faint, alt.value(0.3), alt.value(0.9))
    chart = (
        alt.Chart(data(points.records), name="flatness_margin")
        .mark_point(size=48, strokeWidth=1.8)
        .encode(x=x, y=y, color=hue_color(hue), shape=milestone_shape(points))
        .encode(tooltip=tooltips(hue, points))
    )
    if hue is None:
        chart = chart.encode(opacity=opacity)
    else:
        chosen = alt.selection_point(name="chosen", fields=["hue"], bind="legend")
        dimmed = alt.value(0.04)
        visible = alt.when(chosen & alt.datum.train_error.__gt__(TRAIN_ERROR_THRESHOLD))
        opacity = visible.then(alt.value(0.3)).when(chosen).then(alt.value(0.9)).otherwise(dimmed)
        chart = chart.add_params(chosen).encode(opacity=opacity)
    return themed(chart.properties(width=HEADLINE_WIDTH, height=HEADLINE_WIDTH))
