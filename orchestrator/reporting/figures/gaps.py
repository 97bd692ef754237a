"""Margin and flatness against the loss gap and the error gap."""

from __future__ import annotations

from typing import Any

import altair as alt

from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.data.network_queries import final_networks
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.points import Points, collect_points, tooltips
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure, measured
from orchestrator.reporting.figures.scales import linear, logarithmic
from orchestrator.reporting.figures.theme import (
    INK,
    MARGIN_TITLE,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    TRACE_TITLE,
    hue_color,
    hue_shape,
    rounded,
    themed,
)
from orchestrator.statistics import Estimate, kendall
from orchestrator.statistics.claim import joined, with_interval

_DATA = "snapshots"
_MEASURES = {"margin_mean": MARGIN_TITLE, "hessian_trace": TRACE_TITLE}
_GAPS = {"loss_gap": "loss gap", "error_gap": "error gap"}


@ReportFigure(
    "gaps",
    "Margin and flatness against the generalization gaps",
    place=40,
    methods=(
        "Rank correlations",
        "Kendall’s τ_b = Σ s / √(pairs untied in x · pairs untied in y), with "
        "s = sign(x_i − x_j) sign(y_i − y_j), over all pairs of networks (Kendall 1945, "
        "Biometrika 33). τ_a divides by the number of all pairs instead.",
    ),
)
def gaps_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot both measures against both gaps, whose signs can differ."""
    measures = measured(source, _MEASURES)
    points = collect_points(source, hue, measures)
    if not points.records:
        reason = f"No snapshot can be drawn. {points.excluded}".strip()
        raise Missing(reason, points.query)
    query = final_networks(measures)
    ranks = _rank_correlations(source, measures)
    texts = "; ".join(
        f"{_MEASURES[measure].partition(' (')[0]} and {_GAPS[gap]} {with_interval(tau, 2)}"
        for (measure, gap), tau in ranks.items()
    )
    n = max(tau.n for tau in ranks.values())
    sentences = [
        "Each point is one snapshot; points of final networks are filled. Gaps are test minus "
        "training, so larger is worse. The two gaps can differ in sign, because the loss gap also "
        "grows with the scale of the logits.",
        f"Kendall’s τ over the final networks ({n}): {texts}.",
        _without(source, measures),
        points.sampled,
        points.excluded,
    ]
    return Drawn(
        caption=joined(sentences),
        interaction="Drag over any panel to highlight the same snapshots in all panels.",
        alternative=(
            f"{2 * len(measures)} scatter plots of {len(points.records)} snapshots against the "
            f"loss gap and the error gap. Rank correlations over the final networks: {texts}."
        ),
        queries=(points.query, query),
        table=_table(ranks),
        chart=_chart(points, measures, hue),
    )


def _rank_correlations(source: Source, measures: list[str]) -> dict[tuple[str, str], Estimate]:
    rows = source.rows(final_networks(measures))
    groups = rows.groups()
    return {
        (measure, gap): kendall(rows.floats(measure), rows.floats(gap), groups)
        for gap in _GAPS
        for measure in measures
    }


def _without(source: Source, measures: list[str]) -> str:
    missing = [name for name in _MEASURES if name not in measures]
    return f"No snapshot has a {missing[0]}, so its panels are omitted." if missing else ""


def _chart(points: Points, measures: list[str], hue: Hue | None) -> dict[str, Any]:
    brush = alt.selection_interval(
        name="brush", mark=alt.BrushConfig(fill=INK, fillOpacity=0.08, stroke=INK)
    )
    panels = [_panel(points, measure, gap, hue, brush) for gap in _GAPS for measure in measures]
    panels[0] = panels[0].add_params(brush)
    shared = {_DATA: rounded(points.records)}
    chart = themed(alt.concat(*panels, columns=len(measures), datasets=shared))
    # One brush for all panels: adding it to each makes Altair warn that it merges them.
    chart["params"][0]["views"] = [panel.name for panel in panels]
    return chart


def _panel(points: Points, measure: str, gap: str, hue: Hue | None, brush: Any) -> Any:
    values = points.column(measure)
    across = logarithmic(values) if measure == "hessian_trace" else linear(values)
    up = linear(points.column(gap))
    marked = alt.when(brush)
    return (
        alt.Chart(alt.NamedData(_DATA), name=f"{measure}_{gap}")
        .mark_point(size=36, strokeWidth=1.5)
        .encode(
            x=across.x(f"{measure}:Q", _MEASURES[measure]),
            y=up.y(f"{gap}:Q", f"{_GAPS[gap]}, test − training"),
            stroke=hue_color(hue, alt.Stroke),
            fill=hue_color(hue, alt.Fill),
            shape=hue_shape(hue),
            opacity=marked.then(alt.value(0.9)).otherwise(alt.value(0.1)),
            fillOpacity=alt.when("datum.is_final").then(alt.value(0.9)).otherwise(alt.value(0)),
            tooltip=tooltips(hue, points),
        )
        .properties(width=PANEL_WIDTH, height=PANEL_HEIGHT)
    )


def _table(ranks: dict[tuple[str, str], Estimate]) -> Table:
    rows = [
        (measure, gap, tau.value, tau.low, tau.high, tau.n, tau.n_excluded, tau.reason)
        for (measure, gap), tau in ranks.items()
    ]
    heads = ("measure", "gap", "Kendall’s τ_b", "from", "to", "networks", "left out", "remark")
    return Table.of(heads, rows)
