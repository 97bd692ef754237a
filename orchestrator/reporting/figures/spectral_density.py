"""Density of the Hessian eigenvalues of final networks, by batch size."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

import math
from typing import Any

import altair as alt

from orchestrator.reporting.data.curve_queries import Chosen, level_sql, networks_sql
from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.levels import by_level, finite, level_title, levels_of, narrowed
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure, curves_of
from orchestrator.reporting.figures.scales import LEAST, MOST, logarithmic, symmetric_logarithmic
from orchestrator.reporting.figures.theme import (
    INK,
    SHAPES,
    WIDE,
    data,
    hue_color,
    hue_shape,
    themed,
)
from orchestrator.statistics.claim import joined

REQUEST = "hessian_spectral_density"
_MOST_LEVELS = len(SHAPES)
_MOST_DECADES = 9
_LOWEST_MARK, _MARK_STEP = 0.05, 0.05  # Shares of the axis' length.
_UPPER_END = 0.8
"""Fraction of a level's range above which its largest eigenvalues lie; these set the axis floor."""
DENSITY_POINTS = 200


def spectral_densities(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for densities averaged over networks, at common points per level."""
    return Query(
        "spectral_densities",
        "density of the Hessian’s eigenvalues, averaged over the final networks of each level",
        f"""
        WITH densities AS (
            SELECT level, x, value, len(x) AS n
            FROM curves JOIN {networks_sql(hue)} USING (checkpoint_id)
            WHERE {chosen.condition} AND curves.status = 'ok'
        ), ranges AS (
            SELECT level, min(x[1]) AS low, max(x[-1]) AS high FROM densities GROUP BY level
        ), points AS (
            SELECT level, low + (high - low) * i / {DENSITY_POINTS - 1} AS eigenvalue
            FROM ranges, range({DENSITY_POINTS}) AS grid(i)
        ), places AS (
            SELECT points.level AS level, eigenvalue, value, n,
                (eigenvalue - x[1]) / (x[-1] - x[1]) * (n - 1) AS place
            FROM points JOIN densities ON points.level IS NOT DISTINCT FROM densities.level
        ), interpolated AS (
            -- Beyond its grid, five widths from the outermost eigenvalues, a density is 0.
            SELECT level, eigenvalue, CASE WHEN place BETWEEN 0 AND n - 1 THEN
                value[floor(place)::INT + 1] * (1 - place + floor(place))
                + value[ceil(place)::INT + 1] * (place - floor(place)) ELSE 0 END AS density
            FROM places
        )
        SELECT level, eigenvalue, avg(density ORDER BY density) AS density, min(density) AS low,
            max(density) AS high, count(*) AS networks
        FROM interpolated GROUP BY level, eigenvalue ORDER BY level NULLS LAST, eigenvalue
        """,
    )


def top_eigenvalues(hue: Hue | None) -> Query:
    """Return the query for the largest measured eigenvalue, over final networks per level."""
    return Query(
        "top_eigenvalues",
        "largest eigenvalue of the Hessian over the final networks of each level",
        f"""
        WITH largest AS (
            SELECT {level_sql(hue)} AS level, hessian_eigenvalue_1 AS eigenvalue
            FROM wide SEMI JOIN final USING (checkpoint_id)
        )
        SELECT level, avg(eigenvalue ORDER BY eigenvalue) AS eigenvalue, min(eigenvalue) AS low,
            max(eigenvalue) AS high, count(*) AS networks
        FROM largest WHERE isfinite(largest.eigenvalue)
        GROUP BY level ORDER BY level NULLS LAST
        """,
    )


@ReportFigure(
    "spectral-density",
    "Density of the Hessian’s eigenvalues",
    place=140,
    request=REQUEST,
)
def spectral_density_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot densities averaged over the networks of each level, with the largest eigenvalue."""
    chosen = curves_of(source, REQUEST)
    hue, left_out = narrowed(hue, _MOST_LEVELS)
    query = spectral_densities(chosen, hue)
    found = by_level(source.rows(query), hue)
    records = finite(found, "eigenvalue", "density", "low", "high")
    if not any(LEAST <= record["density"] <= MOST for record in records):
        reason = f"No final network has a {REQUEST} with finite, positive values."
        raise Missing(reason, chosen.query, query)
    queries = [chosen.query, query]
    tops: list[dict[str, Any]] = []
    if source.has("hessian_eigenvalue_1"):
        queries.append(top_eigenvalues(hue))
        tops = finite(by_level(source.rows(queries[-1]), hue), "eigenvalue", "low", "high")
    per_level = {record["hue"]: record["networks"] for record in records}
    networks = ", ".join(
        f"{level_title(hue, level)}: {per_level[level]}"
        for level in levels_of(hue)
        if level in per_level
    )
    sentences = [
        "Share of the eigenvalues of the Hessian of the training loss per unit of eigenvalue, "
        "logarithmic, by stochastic Lanczos quadrature. Lines are means over final networks; "
        f"bands span the lowest to the highest network ({networks}). Each eigenvalue is smoothed "
        "by a Gaussian of the requested width: eigenvalues closer than that are not resolved, and "
        "a peak at zero is at least that wide. "
        "The density axis ends below the density of each level’s largest eigenvalues; lower "
        "densities are drawn at its end. The eigenvalue axis is linear near zero and logarithmic "
        "beyond.",
        "Marks at the bottom: the measured largest eigenvalue, averaged over networks, with a "
        "line from the smallest to the largest."
        if tops
        else "",
        left_out,
        chosen.remark,
    ]
    return Drawn(
        caption=joined(sentences),
        alternative=_alternative(records, tops, hue),
        queries=tuple(queries),
        table=_table(records, tops, hue),
        chart=_chart(records, tops, hue),
    )


def _chart(
    records: list[dict[str, Any]], tops: list[dict[str, Any]], hue: Hue | None
) -> dict[str, Any]:
    highest = min(max(record["high"] for record in records), MOST)
    floor = max(_floor(records, highest), LEAST)
    drawn = [
        {**record, **{name: max(record[name], floor) for name in ("density", "low", "high")}}
        for record in records
    ]
    densities = logarithmic([floor, 2 * highest], factor=1)
    scale = densities.scale()
    y = alt.Y(
        "density:Q",
        title="share of eigenvalues per unit (logarithmic)",
        scale=scale,
        axis=densities.axis(),
    )
    ends = [record["eigenvalue"] for record in records]
    ends += [top[end] for top in tops for end in ("low", "high")]
    across = symmetric_logarithmic(ends, _linear(records))
    x = across.x("eigenvalue:Q", "eigenvalue λ (loss / weight²)")
    base = alt.Chart(data(drawn)).encode(
        x=x,
        color=hue_color(hue),
        tooltip=[
            *([alt.Tooltip("hue:N", title=hue.title)] if hue else []),
            alt.Tooltip("eigenvalue:Q", title="λ", format=".4~g"),
            alt.Tooltip("density:Q", title="mean density", format=".3~g"),
            alt.Tooltip("low:Q", title="lowest network", format=".3~g"),
            alt.Tooltip("high:Q", title="highest network", format=".3~g"),
            alt.Tooltip("networks:Q"),
        ],
    )
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = base.mark_line(strokeWidth=1.6).encode(y=y)
    layers = [band, line, *_marks(tops, hue, floor, highest)]
    return themed(alt.layer(*layers).properties(width=WIDE - 60, height=330), room=84)


def _floor(records: list[dict[str, Any]], highest: float) -> float:
    """Return a third of the density at the largest eigenvalues, at the level where it is lowest."""
    peaks = [
        max(float(record["density"]) for record in own[int(_UPPER_END * len(own)) :])
        for own in _of_levels(records)
    ]
    return max(min(peaks) / 3, highest / 10.0**_MOST_DECADES)


def _linear(records: list[dict[str, Any]]) -> float:
    """Return the end of the linear part of the axis: a tenth of the shortest level's range."""
    longest = [max(abs(r["eigenvalue"]) for r in own) for own in _of_levels(records)]
    return float(min(longest)) / 10


def _of_levels(records: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    levels = dict.fromkeys(record["hue"] for record in records)
    return [[record for record in records if record["hue"] == level] for level in levels]


def _marks(tops: list[dict[str, Any]], hue: Hue | None, floor: float, highest: float) -> list[Any]:
    """Mark the largest eigenvalues, at one height per level so that the marks don't overlap."""
    if not tops:
        return []
    heights = [_LOWEST_MARK + _MARK_STEP * place for place in range(len(tops))]
    placed = [
        {**top, "at": 10 ** (math.log10(floor) * (1 - height) + math.log10(highest) * height)}
        for top, height in zip(tops, heights, strict=True)
    ]
    base = alt.Chart(data(placed)).encode(
        y=alt.Y("at:Q"),
        color=hue_color(hue),
        tooltip=[
            *([alt.Tooltip("hue:N", title=hue.title)] if hue else []),
            alt.Tooltip("eigenvalue:Q", title="largest λ, mean", format=".4~g"),
            alt.Tooltip("low:Q", title="smallest", format=".4~g"),
            alt.Tooltip("high:Q", title="largest", format=".4~g"),
            alt.Tooltip("networks:Q"),
        ],
    )
    spread = base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q"), x2="high:Q")
    point = base.mark_point(filled=True, size=75, opacity=1, stroke=INK, strokeWidth=0.8)
    point = point.encode(x=alt.X("eigenvalue:Q"), shape=hue_shape(hue))
    return [spread, point]


def _alternative(records: list[dict[str, Any]], tops: list[dict[str, Any]], hue: Hue | None) -> str:
    ranges = "; ".join(
        f"{level_title(hue, level)}: from {own[0]:.3g} to {own[-1]:.3g}"
        for level in levels_of(hue)
        if (own := [record["eigenvalue"] for record in records if record["hue"] == level])
    )
    largest = "; ".join(f"{level_title(hue, t['hue'])}: {t['eigenvalue']:.3g}" for t in tops)
    return (
        "Curves of eigenvalue density, on a logarithmic axis, over the eigenvalues. "
        f"Ranges: {ranges}." + (f" Mean largest eigenvalues: {largest}." if tops else "")
    )


def _table(records: list[dict[str, Any]], tops: list[dict[str, Any]], hue: Hue | None) -> Table:
    """Summarize the density of each level; the SQL query returns all its points."""
    heads = (
        hue.title if hue else "networks shown",
        "networks",
        "λ from",
        "λ to",
        "densest at λ",
        "largest density",
        "λ₁, mean",
        "λ₁, smallest",
        "λ₁, largest",
    )
    rows = []
    for level in levels_of(hue):
        own = [record for record in records if record["hue"] == level]
        if own:
            peak = max(own, key=lambda record: record["density"])
            top = next((top for top in tops if top["hue"] == level), {})
            rows.append(
                (
                    level,
                    peak["networks"],
                    own[0]["eigenvalue"],
                    own[-1]["eigenvalue"],
                    peak["eigenvalue"],
                    peak["density"],
                    *(top.get(name) for name in ("eigenvalue", "low", "high")),
                )
            )
    return Table.of(heads, rows)
