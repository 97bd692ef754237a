"""Loss around final networks, along a line and on a plane."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from typing import Any

import altair as alt

from orchestrator.reporting.data.curve_queries import Chosen, networks_sql
from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.levels import by_level, finite, level_title, levels_of, narrowed
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure, curves_of
from orchestrator.reporting.figures.scales import Span, linear, logarithmic
from orchestrator.reporting.figures.theme import SHAPES, WIDE, data, hue_color, hue_shape, themed
from orchestrator.statistics.claim import counted, joined

REQUEST = "loss_slice"
_DIRECTION = (
    "Directions are random, with each filter scaled to the norm of the network’s own filter (Li et "
    "al., arXiv:1712.09913), so that distance 1 is one norm of each filter. All networks use the "
    "same random numbers."
)
_MOST_PANELS = 6
_PANEL = 180
MOST_SLICE_POINTS = 101
MOST_PLANE_POINTS = 31


def loss_slices(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for losses along a line, over the final networks of each level."""
    return Query(
        "loss_slices",
        "training loss along a filter-normalized direction, over the final networks of each level",
        f"""
        WITH slices AS (
            SELECT level, len(x) AS n,
                unnest(x) AS distance, unnest(value) AS loss, unnest(range(len(x))) AS point
            FROM curves JOIN {networks_sql(hue)} USING (checkpoint_id)
            WHERE {chosen.condition}
        )
        SELECT level, distance, median(loss) AS loss, min(loss) AS low, max(loss) AS high,
            count(*) AS networks
        FROM slices
        WHERE isfinite(loss) AND abs(point - n // 2) % ceil(n / {MOST_SLICE_POINTS})::INT = 0
        GROUP BY level, distance ORDER BY level NULLS LAST, distance
        """,
    )


def loss_planes(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for losses on a plane, of one network per level."""
    return Query(
        "loss_planes",
        "training loss on a plane, of the network with the median training loss of each level",
        f"""
        WITH planes AS (
            SELECT trial_id, level, train_loss, x, y, value,
                sqrt(len(x))::INT AS n, median(train_loss) OVER (PARTITION BY level) AS middle
            FROM curves JOIN {networks_sql(hue)} USING (checkpoint_id, trial_id)
            WHERE {chosen.condition}
        ), representatives AS (
            SELECT * FROM planes QUALIFY row_number() OVER (
                PARTITION BY level ORDER BY abs(train_loss - middle), trial_id) = 1
        ), points AS (
            SELECT * EXCLUDE (x, y, value), unnest(x) AS x, unnest(y) AS y,
                unnest(value) AS loss, unnest(range(len(x))) AS point,
                ceil(n / {MOST_PLANE_POINTS})::INT AS stride
            FROM representatives
        )
        SELECT level, trial_id, x, y, loss FROM points
        WHERE isfinite(loss) AND abs(point % n - n // 2) % stride = 0
            AND abs(point // n - n // 2) % stride = 0
        ORDER BY level NULLS LAST, y, x
        """,
    )


@ReportFigure(
    "loss-slices",
    "Loss along a random direction",
    place=150,
    request=REQUEST,
    dimensions=1,
)
def loss_slices_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot the loss along one direction, over the networks of each level."""
    chosen = curves_of(source, REQUEST, dimensions=1)
    hue, left_out = narrowed(hue, len(SHAPES))
    query = loss_slices(chosen, hue)
    records = list(by_level(source.rows(query), hue))
    usable = finite(records, "distance", "loss", "low", "high")
    positive = [record for record in usable if record["low"] > 0]
    if not positive:
        reason = f"No final network has a {REQUEST} with a finite, positive loss."
        raise Missing(reason, chosen.query, query)
    lost = len(records) - len(positive)
    sentences = [
        "Training loss, logarithmic, over the distance from the final networks along one "
        "direction: median over networks, with a band from the lowest to the highest. A wider "
        f"valley is flatter. {_DIRECTION}",
        f"Not drawn: {counted(lost, 'point')} where a loss is non-positive or non-finite."
        if lost
        else "",
        left_out,
        chosen.remark,
    ]
    return Drawn(
        caption=joined(sentences),
        alternative=_line_alternative(positive, hue),
        queries=(chosen.query, query),
        table=_line_table(records, hue),
        chart=_line_chart(positive, hue),
    )


@ReportFigure("loss-planes", "Loss on a random plane", place=160, request=REQUEST, dimensions=2)
def loss_planes_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot the loss on a plane through one network of each level."""
    chosen = curves_of(source, REQUEST, dimensions=2)
    hue, left_out = narrowed(hue, _MOST_PANELS)
    query = loss_planes(chosen, hue)
    found = finite(by_level(source.rows(query), hue), "x", "y", "loss")
    records = [record for record in found if record["loss"] > 0]
    if not records:
        reason = f"No final network has a {REQUEST} with a finite, positive loss."
        raise Missing(reason, chosen.query, query)
    of_level = f"of its {hue.title}" if hue else "of all networks"
    sentences = [
        "Training loss, as colour on a logarithmic scale, on a plane through one final network per "
        "panel, marked by the cross in the middle. It is the network with the median training loss "
        f"{of_level}, neither the best nor the worst. {_DIRECTION}",
        left_out,
        chosen.remark,
    ]
    return Drawn(
        caption=joined(sentences),
        alternative=_plane_alternative(records, hue),
        queries=(chosen.query, query),
        table=_plane_table(records, hue),
        chart=_plane_chart(records, hue),
    )


def _line_chart(records: list[dict[str, Any]], hue: Hue | None) -> dict[str, Any]:
    losses = logarithmic(record[end] for record in records for end in ("low", "high"))
    distances = linear((record["distance"] for record in records), most=9)
    title = "training loss (logarithmic)"
    base = alt.Chart(data(records)).encode(
        x=distances.x("distance:Q", "distance, in filter norms"),
        color=hue_color(hue),
        tooltip=[
            *([alt.Tooltip("hue:N", title=hue.title)] if hue else []),
            alt.Tooltip("distance:Q", format=".3~g"),
            alt.Tooltip("loss:Q", title="median loss", format=".4~g"),
            alt.Tooltip("low:Q", title="lowest network", format=".4~g"),
            alt.Tooltip("high:Q", title="highest network", format=".4~g"),
            alt.Tooltip("networks:Q"),
        ],
    )
    y = losses.y("loss:Q", title)
    band = base.mark_area(opacity=0.2).encode(y=losses.y("low:Q", title), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y)
    dots = base.mark_point(filled=True, size=32, opacity=1).encode(y=y, shape=hue_shape(hue))
    return themed(alt.layer(band, line, dots).properties(width=WIDE - 60, height=330), room=84)


def _line_alternative(records: list[dict[str, Any]], hue: Hue | None) -> str:
    parts = []
    for level in levels_of(hue):
        own = [record for record in records if record["hue"] == level]
        if own:
            middle = min(own, key=lambda record: abs(record["distance"]))
            parts.append(
                f"{level_title(hue, level)}: {middle['loss']:.3g} in the middle, "
                f"{own[0]['loss']:.3g} and {own[-1]['loss']:.3g} at the ends"
            )
    return f"Curves of the median training loss over distance. {'; '.join(parts)}."


def _line_table(records: list[dict[str, Any]], hue: Hue | None) -> Table:
    heads = (hue.title if hue else "networks shown", "distance", "median loss", "lowest", "highest")
    names = ("hue", "distance", "loss", "low", "high", "networks")
    return Table.of((*heads, "networks"), [tuple(r[name] for name in names) for r in records])


def _plane_chart(records: list[dict[str, Any]], hue: Hue | None) -> dict[str, Any]:
    losses = logarithmic((record["loss"] for record in records), factor=1, most=5)
    panels = [
        _plane(own, level_title(hue, level), losses)
        for level in levels_of(hue)
        if (own := [record for record in records if record["hue"] == level])
    ]
    return themed(
        alt.concat(*panels, columns=2 if len(panels) in (2, 4) else 3, spacing=20), room=52
    )


def _plane(records: list[dict[str, Any]], title: str, losses: Span) -> Any:
    points = sorted({record["x"] for record in records})
    ticks = [points[0], *([0.0] if 0.0 in points else []), points[-1]]
    # A whole number of pixels per column avoids visible gaps.
    size = len(points) * max(1, round(_PANEL / len(points)))
    cells = [{name: record[name] for name in ("x", "y", "loss")} for record in records]
    axis = alt.Axis(values=ticks, labelAngle=0, grid=False, domain=False, format="~g")
    base = alt.Chart(data(cells)).encode(
        x=alt.X("x:O", title="first direction", axis=axis),
        y=alt.Y("y:O", title="second direction", sort="descending", axis=axis),
    )
    cells_drawn = base.mark_rect().encode(
        color=alt.Color(
            "loss:Q",
            title="training loss (logarithmic)",
            scale=losses.scale(scheme="viridis"),
            legend=losses.legend(gradientLength=240),
        ),
        tooltip=[
            alt.Tooltip("x:Q", format=".3~g"),
            alt.Tooltip("y:Q", format=".3~g"),
            alt.Tooltip("loss:Q", format=".4~g"),
        ],
    )
    center = base.transform_filter("datum.x === 0 && datum.y === 0").mark_point(
        shape="cross",
        size=90,
        filled=True,
        color="white",
        stroke="black",
        strokeWidth=0.7,
        opacity=1,
    )
    return alt.layer(cells_drawn, center).properties(
        width=size, height=size, title=alt.TitleParams(title, fontSize=12)
    )


def _plane_alternative(records: list[dict[str, Any]], hue: Hue | None) -> str:
    parts = []
    for level in levels_of(hue):
        own = [record["loss"] for record in records if record["hue"] == level]
        if own:
            parts.append(f"{level_title(hue, level)}: from {min(own):.3g} to {max(own):.3g}")
    return f"Heat maps of the training loss on a plane. {'; '.join(parts)}."


def _plane_table(records: list[dict[str, Any]], hue: Hue | None) -> Table:
    heads = (hue.title if hue else "networks shown", "trial", "loss in the middle")
    rows = []
    for level in levels_of(hue):
        own = [record for record in records if record["hue"] == level]
        if own:
            middle = min(own, key=lambda record: record["x"] ** 2 + record["y"] ** 2)
            losses = [record["loss"] for record in own]
            rows.append(
                (level, own[0]["trial_id"], middle["loss"], min(losses), max(losses), len(own))
            )
    return Table.of((*heads, "lowest", "highest", "points"), rows)
