"""Cost of each measure compared with training."""

from __future__ import annotations

from typing import Any

import altair as alt

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import logarithmic
from orchestrator.reporting.figures.theme import INK, OKABE_ITO, WIDE, data, themed

_COLUMNS = ("what", "kind", "n", "low", "middle", "high", "total")
_KINDS = {"measure": "measuring a snapshot", "training": "training a network"}
_ROW_HEIGHT = 24
_LABEL = 220
MEASURE_COST = Query(
    "measure_cost",
    "seconds of each request, per snapshot and in total",
    """
    WITH requests AS (
        SELECT checkpoint_id, request, any_value(seconds) AS seconds
        FROM measures WHERE status IN ('ok', 'nonfinite') GROUP BY checkpoint_id, request
    )
    SELECT request AS what, 'measure' AS kind, count(*) AS n,
        quantile_cont(seconds, 0.1) AS low, median(seconds) AS middle,
        quantile_cont(seconds, 0.9) AS high, sum(seconds ORDER BY seconds) AS total
    FROM requests WHERE seconds > 0 GROUP BY request ORDER BY middle DESC, what
    """,
)

TRAINING_COST = Query(
    "training_cost",
    "seconds of training per network, per epoch and in total",
    """
    WITH spent AS (
        SELECT 'training, whole network' AS what, train_seconds AS seconds FROM trials
        UNION ALL
        SELECT 'training, one epoch', train_seconds / epochs FROM trials WHERE epochs > 0
        UNION ALL
        SELECT 'evaluation, whole network', evaluation_seconds FROM trials
    )
    SELECT what, 'training' AS kind, count(*) AS n,
        quantile_cont(seconds, 0.1) AS low, median(seconds) AS middle,
        quantile_cont(seconds, 0.9) AS high,
        CASE WHEN what LIKE '%whole network' THEN sum(seconds ORDER BY seconds) END AS total
    FROM spent WHERE seconds > 0 GROUP BY what ORDER BY what DESC
    """,
)


@ReportFigure("cost", "Cost of measuring compared with training", place=100)
def cost_figure(source: Source) -> Drawn:
    """Plot the seconds of each request per snapshot, and the seconds of training."""
    queries = (MEASURE_COST, TRAINING_COST)
    measuring, training = (source.rows(query).tuples() for query in queries)
    if not measuring:
        raise Missing("No stored measurement took any time, so no costs can be compared.", *queries)
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in (*training, *measuring)]
    measured = sum(row["total"] for row in rows if row["kind"] == "measure")
    trained = sum(row["total"] or 0 for row in rows if row["what"] == "training, whole network")
    beside = (
        f"Measuring took {_duration(measured)} in total, {measured / trained:.2g} times as long "
        f"as training ({_duration(trained)})."
        if trained
        else f"Measuring took {_duration(measured)} in total; no training time is recorded yet."
    )
    dearest, cheapest = measuring[0], measuring[-1]
    return Drawn(
        caption=(
            "Median seconds per snapshot for each request, and per network for training; lines "
            f"span the 10th to the 90th percentile. {beside} Shared work, such as the forward "
            "pass, counts towards the first request that needs it. Processes that ran at the same "
            "time shared the machine."
        ),
        alternative=(
            f"Dot plot of seconds on a logarithmic axis. Costliest measure: {dearest[0]}, median "
            f"{dearest[4]:.3g} s per snapshot; cheapest: {cheapest[0]}, {cheapest[4]:.3g} s."
        ),
        queries=queries,
        table=_table(rows),
        chart=_chart(rows),
    )


def _chart(rows: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = list(_KINDS.values())
    records = [{**row, "kind": _KINDS[row["kind"]]} for row in rows]
    order = [record["what"] for record in records]
    base = alt.Chart(data(records)).encode(
        y=alt.Y("what:N", title=None, sort=order, axis=alt.Axis(grid=True, labelLimit=_LABEL)),
        color=alt.Color(
            "kind:N",
            title="seconds for",
            scale=alt.Scale(domain=kinds, range=[OKABE_ITO[3], OKABE_ITO[4]]),
        ),
        tooltip=[
            alt.Tooltip("what:N"),
            alt.Tooltip("middle:Q", title="median s", format=".3~g"),
            alt.Tooltip("low:Q", title="10th percentile s", format=".3~g"),
            alt.Tooltip("high:Q", title="90th percentile s", format=".3~g"),
            alt.Tooltip("total:Q", title="total s", format=",.4~g"),
            alt.Tooltip("n:Q", title="number", format=",d"),
        ],
    )
    seconds = logarithmic([row[end] for row in rows for end in ("low", "high")], 2, most=9)
    x = seconds.x("low:Q", "seconds (logarithmic)")
    spread = base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=x, x2="high:Q")
    shape = alt.Shape(
        "kind:N", title="seconds for", scale=alt.Scale(domain=kinds, range=["circle", "square"])
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("middle:Q", title="seconds (logarithmic)"), shape=shape
    )
    text = (
        base.mark_text(align="left", dx=9, dy=-7, fontSize=10)
        .encode(x=alt.X("middle:Q"), text=alt.Text("middle:Q", format=".2~g"))
        .encode(color=alt.value(INK))
    )
    height = _ROW_HEIGHT * len(order)
    chart = alt.layer(spread, dots, text).properties(width=WIDE - 300, height=height)
    return themed(chart, room=56 + _LABEL)


def _duration(seconds: float) -> str:
    for size, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _table(rows: list[dict[str, Any]]) -> Table:
    heads = ("what", "number", "10th percentile, s", "median, s", "90th percentile, s", "total, s")
    columns = ("what", "n", "low", "middle", "high", "total")
    return Table.of(heads, [tuple(row[name] for name in columns) for row in rows])
