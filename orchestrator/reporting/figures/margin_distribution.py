"""Distribution of the training margins, of final networks and over training."""

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
from orchestrator.reporting.figures.scales import PERCENTS, linear, logarithmic
from orchestrator.reporting.figures.theme import (
    INK,
    OKABE_ITO,
    PANEL_WIDTH,
    WIDE,
    data,
    hue_color,
    hue_shape,
    themed,
)
from orchestrator.statistics.claim import joined

REQUEST = "margin_distribution"
_MOST_PANELS = 6
_QUANTILES = ("q05", "q25", "q50", "q75", "q95")
_PANEL_HEIGHT = 150
_TENTHS = "round(datum.share * 100) % 10 === 0"
_EDGE = 0.05
"""Share of examples that may lie beyond either end of the axis, which outliers would stretch."""
MOST_EPOCHS = 40
MOST_QUANTILES = 101


def final_margins(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for quantiles of margins, averaged over final networks per level."""
    return Query(
        "final_margins",
        "quantiles of the training margins, averaged over the final networks of each level",
        f"""
        WITH quantiles AS (
            SELECT level, len(x) AS n,
                unnest(x) AS share, unnest(value) AS margin, unnest(range(len(x))) AS point
            FROM curves JOIN {networks_sql(hue)} USING (checkpoint_id)
            WHERE {chosen.condition} AND curves.status = 'ok'
        )
        SELECT level, share, avg(margin ORDER BY margin) AS margin, min(margin) AS low,
            max(margin) AS high, count(*) AS networks
        FROM quantiles
        WHERE point % ceil(n / {MOST_QUANTILES})::INT = 0 OR point = n - 1
        GROUP BY level, share ORDER BY level NULLS LAST, share
        """,
    )


def margins_along_training(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for five margin quantiles over epochs, averaged per level."""
    quantiles = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
    columns = ",".join(
        # Linear interpolation between two stored quantiles.
        f"""
                avg(value[floor({p} * (n - 1))::INT + 1] * (1 - {p} * (n - 1) % 1)
                    + value[ceil({p} * (n - 1))::INT + 1] * ({p} * (n - 1) % 1)
                    ORDER BY trial_id) AS {name}"""
        for name, p in quantiles.items()
    )
    return Query(
        "margins_along_training",
        "quantiles of the training margins per epoch, if half of a level’s networks have them",
        f"""
        WITH distributions AS (
            SELECT trial_id, level, epoch, value, len(x) AS n
            FROM curves JOIN {networks_sql(hue, "gap")} USING (checkpoint_id, trial_id)
            WHERE {chosen.condition} AND curves.status = 'ok' AND epoch > 0
                AND trial_status = 'completed'
        ), epochs AS (
            SELECT level, epoch, count(*) AS networks,{columns}
            FROM distributions GROUP BY level, epoch
        ), levels AS (
            SELECT level, count(DISTINCT trial_id) AS trials FROM distributions GROUP BY level
        )
        SELECT epochs.* FROM epochs JOIN levels
            ON epochs.level IS NOT DISTINCT FROM levels.level
        WHERE 2 * networks >= trials
        QUALIFY (row_number() OVER (PARTITION BY epochs.level ORDER BY epoch) - 1)
            % ceil(count(*) OVER (PARTITION BY epochs.level) / {MOST_EPOCHS})::INT = 0
        ORDER BY level NULLS LAST, epoch
        """,
    )


@ReportFigure(
    "margin-distribution",
    "Distribution of the training margins",
    place=120,
    request=REQUEST,
)
def margin_distribution_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot shares of examples by margin in final networks, and bands of quantiles over epochs."""
    chosen = curves_of(source, REQUEST, "margin_quantiles")
    hue, left_out = narrowed(hue, _MOST_PANELS)
    queries = (final_margins(chosen, hue), margins_along_training(chosen, hue))
    rows = [by_level(source.rows(query), hue) for query in queries]
    final, along = finite(rows[0], "margin", "low", "high"), finite(rows[1], *_QUANTILES)
    if not final:
        reason = f"No final network has a {REQUEST} with finite values."
        raise Missing(reason, chosen.query, *queries)
    unit = "" if chosen.variant == "raw" else f", divided by {chosen.variant.replace('_', ' ')}"
    sentences = [
        "Top: cumulative share of training examples by margin "
        f"(true logit minus the largest other{unit}) in the final networks. Margins are averaged "
        "over networks at equal shares, with a band from the lowest to the highest network. "
        f"Examples left of zero are misclassified. Up to {100 * _EDGE:g} % of the examples at "
        "either end may lie beyond the axis.",
        "Bottom: margins over training, at epochs where at least half of the networks have a "
        "snapshot. Lines are medians; bands contain the middle 50 % and 90 % of the examples, "
        "averaged over networks."
        if along
        else "",
        left_out,
        chosen.remark,
    ]
    return Drawn(
        caption=joined(sentences),
        alternative=_alternative(final, along, hue),
        queries=(chosen.query, *queries),
        table=_table(final, along, hue),
        chart=_chart(final, along, hue, "normalized margin" if unit else "margin (logits)"),
    )


def _chart(
    final: list[dict[str, Any]], along: list[dict[str, Any]], hue: Hue | None, title: str
) -> dict[str, Any]:
    ends = [record[name] for record in along for name in ("q05", "q95")]
    epochs = [record["epoch"] for record in along]
    panels = [
        _band_panel(own, level_title(hue, level), title, ends, epochs)
        for level in levels_of(hue)
        if (own := [record for record in along if record["hue"] == level])
    ]
    top = _final_panel(final, hue, title)
    # Independent legends stay next to the curves that they explain.
    chart = alt.vconcat(top, *([alt.concat(*panels, columns=2)] if panels else []))
    chart = chart.resolve_legend(color="independent", shape="independent")
    return themed(chart, room=80)


def _final_panel(records: list[dict[str, Any]], hue: Hue | None, title: str) -> Any:
    inner = [record["margin"] for record in records if _EDGE <= record["share"] <= 1 - _EDGE]
    margins = linear([0, *inner], most=9)
    y = alt.Y(
        "share:Q",
        title="share of the training examples",
        axis=PERCENTS.axis(),
        scale=PERCENTS.scale(),
    )
    base = alt.Chart(data(records)).encode(
        y=y,
        color=hue_color(hue),
        tooltip=[
            *([alt.Tooltip("hue:N", title=hue.title)] if hue else []),
            alt.Tooltip("share:Q", title="share of examples", format=".1%"),
            alt.Tooltip("margin:Q", title="margin at most, mean", format=".4~g"),
            alt.Tooltip("low:Q", title="lowest network", format=".4~g"),
            alt.Tooltip("high:Q", title="highest network", format=".4~g"),
            alt.Tooltip("networks:Q"),
        ],
    )
    zero = (
        alt.Chart(data([{"zero": 0}]))
        .mark_rule(color=INK, opacity=0.6, strokeDash=[2, 3])
        .encode(x="zero:Q")
    )
    band = base.mark_area(opacity=0.2, orient="horizontal", clip=True).encode(
        x=margins.x("low:Q", title), x2="high:Q"
    )
    line = base.mark_line(strokeWidth=2, clip=True).encode(
        x=margins.x("margin:Q", title), order="share:Q"
    )
    dots = base.transform_filter(_TENTHS).mark_point(filled=True, size=36, opacity=1, clip=True)
    dots = dots.encode(x=alt.X("margin:Q"), shape=hue_shape(hue))
    return alt.layer(zero, band, line, dots).properties(width=WIDE - 60, height=260)


def _band_panel(
    records: list[dict[str, Any]], name: str, title: str, ends: list[float], epochs: list[float]
) -> Any:
    times, margins = logarithmic(epochs), linear([0, *ends])
    base = alt.Chart(data(records)).encode(
        x=times.x("epoch:Q", "epochs (logarithmic)"),
        tooltip=[
            alt.Tooltip("epoch:Q", title="epochs", format=".3~g"),
            *(
                alt.Tooltip(f"{name}:Q", title=f"{int(name[1:])} % below", format=".4~g")
                for name in _QUANTILES
            ),
            alt.Tooltip("networks:Q"),
        ],
    )
    colour = OKABE_ITO[4]

    def band(low: str, high: str, opacity: float) -> Any:
        area = base.mark_area(color=colour, opacity=opacity)
        return area.encode(y=margins.y(f"{low}:Q", title), y2=f"{high}:Q")

    line = base.mark_line(
        color=colour, strokeWidth=2, point=alt.OverlayMarkDef(size=22, filled=True, color=colour)
    ).encode(y=margins.y("q50:Q", title))
    zero = (
        alt.Chart(data([{"zero": 0}]))
        .mark_rule(color=INK, opacity=0.6, strokeDash=[2, 3])
        .encode(y="zero:Q")
    )
    return alt.layer(zero, band("q05", "q95", 0.2), band("q25", "q75", 0.3), line).properties(
        width=PANEL_WIDTH, height=_PANEL_HEIGHT, title=alt.TitleParams(name, fontSize=12)
    )


def _alternative(final: list[dict[str, Any]], along: list[dict[str, Any]], hue: Hue | None) -> str:
    parts = []
    for level in levels_of(hue):
        own = [record for record in final if record["hue"] == level]
        if own:
            middle = min(own, key=lambda record: abs(record["share"] - 0.5))
            parts.append(
                f"{level_title(hue, level)}: smallest {own[0]['margin']:.3g}, median "
                f"{middle['margin']:.3g}, largest {own[-1]['margin']:.3g}"
            )
    panels = len({record["hue"] for record in along})
    below = f" Below, {panels} charts of its quantiles over epochs." if panels else ""
    return (
        "Curves of the cumulative share of training examples over the margin, final networks. "
        f"{'; '.join(parts)}.{below}"
    )


def _table(final: list[dict[str, Any]], along: list[dict[str, Any]], hue: Hue | None) -> Table:
    """Tabulate values along training if any exist, else final networks; the SQL returns both."""
    head = hue.title if hue else "networks shown"
    if not along:
        names: tuple[str, ...] = ("hue", "share", "margin", "low", "high", "networks")
        heads = (head, "share of examples", "margin, mean", "lowest", "highest", "networks")
        return Table.of(heads, [tuple(record[name] for name in names) for record in final])
    names = ("hue", "epoch", *_QUANTILES, "networks")
    percents = tuple(f"{int(name[1:])} % below" for name in _QUANTILES)
    rows = [tuple(record[name] for name in names) for record in along]
    return Table.of((head, "epochs", *percents, "networks"), rows)
