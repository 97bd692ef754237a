"""The explorer's chart, which the page completes with rows, titles and scales."""

from __future__ import annotations

from typing import Any

import altair as alt

from orchestrator.reporting.figures.theme import INK, OKABE_ITO, data, themed

OUTCOMES = ("learned", "unfinished", "did not learn", "failed")
"""Outcomes of networks, each with a shape of its own."""
_SHAPES = ("circle", "square", "triangle-up", "cross")


def explorer_chart() -> dict[str, Any]:
    """Return the Vega-Lite specification of an empty scatter plot.

    Fields have fixed names (``x``, ``y``, ``colour``, ``panel``, ``outcome``, ``trial``), so names
    from the study are never parsed as field paths; they occur as titles only.
    """
    chart = (
        alt.Chart(data([]))
        .mark_point(filled=False, size=42, opacity=0.8)
        .encode(
            x=alt.X("x:Q", scale=alt.Scale(zero=False, nice=True), title="x"),
            y=alt.Y("y:Q", scale=alt.Scale(zero=False, nice=True), title="y"),
            color=alt.Color(
                "colour:N",
                title="colour",
                scale=alt.Scale(range=list(OKABE_ITO)),
                legend=alt.Legend(symbolLimit=30),
            ),
            shape=alt.Shape(
                "outcome:N",
                title="network",
                scale=alt.Scale(domain=list(OUTCOMES), range=list(_SHAPES)),
                legend=alt.Legend(symbolStrokeColor=INK),
            ),
            facet=alt.Facet(
                "panel:N",
                columns=2,
                title="panel",
                header=alt.Header(labelColor=INK, titleColor=INK, titleFontWeight="normal"),
            ),
            tooltip=[
                alt.Tooltip("x:Q", title="x", format=".4~g"),
                alt.Tooltip("y:Q", title="y", format=".4~g"),
                alt.Tooltip("colour:N", title="colour"),
                alt.Tooltip("outcome:N", title="network"),
                alt.Tooltip("trial:N", title="trial"),
            ],
        )
        .properties(width=600, height=340)
    )
    return themed(chart)
