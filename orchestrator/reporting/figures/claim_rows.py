"""The numbers behind a claim that the study states itself, one point per row of its query."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from orchestrator.errors import QueryError
from orchestrator.reporting.claims.evidence import Judged, stated_figure
from orchestrator.reporting.claims.stated_claims import claim_query, claim_rows
from orchestrator.reporting.data.open_results import Rows, Source, claims_of
from orchestrator.reporting.figures.figure import Figure, Table
from orchestrator.reporting.figures.scales import Span, linear, logarithmic
from orchestrator.reporting.figures.theme import INK, OKABE_ITO, data, themed
from orchestrator.statistics.claim import counted, joined, with_interval
from orchestrator.statistics.intervals.estimate import BoolArray
from orchestrator.study.claim_options import StatedClaim

MOST_POINTS = 1000
_WIDTH, _HEIGHT = 420, 300
_STAGE = "train_loss_milestone"
_FAILED = "The rows of the claim cannot be read; the claim gives the reason."


def stated_claim_figures(source: Source, judged: Sequence[Judged]) -> list[Figure]:
    """Return one figure for each claim that the study states itself, in its order."""
    stated = {claim.name: claim for claim in claims_of(source) if isinstance(claim, StatedClaim)}
    return [
        _figure(source, stated[one.claim.name], one) for one in judged if one.claim.name in stated
    ]


def _figure(source: Source, claim: StatedClaim, judged: Judged) -> Figure:
    key, query = stated_figure(claim.name), claim_query(claim)
    title = f"{claim.y} against {claim.x}" if claim.y else f"{claim.x} in each condition"
    try:
        rows = claim_rows(source, query)
        columns = {name: rows.floats(name) for name in filter(None, (claim.x, claim.y))}
        names = [(str(trial), str(of)) for trial, of in zip(*_identity(rows), strict=True)]
    except (QueryError, KeyError, TypeError, ValueError):
        return Figure(key, title, missing=_FAILED, queries=(query,))
    kept = np.logical_and.reduce(
        [
            np.isfinite(values) & ((values > 0) | (name not in claim.log))
            for name, values in columns.items()
        ]
    )
    records = [
        {"trial": trial, "condition": condition}
        | {axis: float(columns[name][row]) for axis, name in _axes(claim)}
        | ({"stage": f"{rows[_STAGE][row]:g}"} if _STAGE in rows.columns else {})
        for row, (trial, condition) in enumerate(names)
        if kept[row]
    ]
    if not records:
        return Figure(key, title, missing="No row has finite values.", queries=(query,))
    shown = _sample(records)
    sentences = [
        f"Each point is one row of the claim's query: {judged.claim.statistic}, "
        f"{with_interval(judged.claim.estimate, 2)}.",
        "" if claim.y else "Conditions are sorted by their mean; the line is the threshold.",
        f"Shown: {len(shown):,} of {len(records):,} rows, chosen by a hash of their trials."
        if len(shown) < len(records)
        else "",
        _left_out(kept, claim),
    ]
    return Figure(
        key,
        title,
        caption=joined(sentences),
        alternative=f"Scatter plot of {counted(len(shown), 'row')}: {title}.",
        queries=(query,),
        table=_table(claim, records),
        chart=_chart(claim, shown),
    )


def _identity(rows: Rows) -> tuple[Sequence[Any], Sequence[Any]]:
    return rows["trial_id"], rows["condition_id"]


def _axes(claim: StatedClaim) -> list[tuple[str, str]]:
    return [("x", claim.x), *([("y", claim.y)] if claim.y else [])]


def _sample(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Choose whole trials by a hash of their names, in the order of the rows."""
    if len(records) <= MOST_POINTS:
        return records
    trials = dict.fromkeys(record["trial"] for record in records)
    order = sorted(trials, key=lambda trial: hashlib.md5(trial.encode()).digest())  # noqa: S324
    rank = {trial: place for place, trial in enumerate(order)}
    chosen = sorted(range(len(records)), key=lambda row: (rank[records[row]["trial"]], row))
    return [records[row] for row in sorted(chosen[:MOST_POINTS])]


def _left_out(kept: BoolArray, claim: StatedClaim) -> str:
    count = int(np.sum(~kept))
    reason = "non-finite or, on a logarithmic axis, non-positive" if claim.log else "non-finite"
    return f"Not drawn: {counted(count, 'row')} with a {reason} value." if count else ""


def _table(claim: StatedClaim, records: Sequence[dict[str, Any]]) -> Table:
    stage = {"stage": "training loss"} if "stage" in records[0] else {}
    heads = {"trial": "trial", "condition": "condition"} | dict(_axes(claim)) | stage
    return Table.of(
        tuple(heads.values()), [tuple(record[name] for name in heads) for record in records]
    )


def _chart(claim: StatedClaim, records: list[dict[str, Any]]) -> Any:
    def span(axis: str, name: str) -> Span:
        values = [record[axis] for record in records]
        return logarithmic(values) if name in claim.log else linear(values)

    x = span("x", claim.x).x("x:Q", claim.x)
    if not claim.y:
        return _strip(claim, records)
    stages = sorted({record["stage"] for record in records if "stage" in record}, key=float)
    color: Any = alt.value(OKABE_ITO[4])
    if stages:
        scheme = alt.SchemeParams(name="viridis", extent=[0.15, 0.9])
        scale = alt.Scale(domain=stages, scheme=scheme)
        color = alt.Color("stage:N", title="training loss", scale=scale, sort=stages)
    chart = (
        alt.Chart(data(records), name="stated_claim")
        .mark_point(size=44, strokeWidth=1.6, opacity=0.8)
        .encode(x=x, y=span("y", claim.y).y("y:Q", claim.y), color=color)
        .encode(tooltip=["trial:N", "condition:N", "x:Q", "y:Q"])
        .properties(width=_WIDTH, height=_HEIGHT)
    )
    return themed(chart)


def _strip(claim: StatedClaim, records: list[dict[str, Any]]) -> Any:
    """Draw one column of points per condition, and the threshold."""
    sums: dict[str, list[float]] = {}
    for record in records:
        sums.setdefault(record["condition"], []).append(record["x"])
    # Halves add up without overflow at any magnitude.
    order = sorted(sums, key=lambda name: (sum(one / len(sums[name]) for one in sums[name]), name))
    place = {name: number for number, name in enumerate(order, 1)}
    placed = [record | {"place": place[record["condition"]]} for record in records]
    values = [record["x"] for record in records]
    axis = logarithmic(values) if claim.x in claim.log else linear([*values, claim.threshold])
    across = linear([1, len(order)])
    points = (
        alt.Chart(data(placed), name="stated_claim")
        .mark_point(size=44, strokeWidth=1.6, opacity=0.8)
        .encode(
            x=alt.X(
                "place:Q",
                title="conditions, sorted by mean",
                scale=across.scale(),
                axis=alt.Axis(labels=False, ticks=False, grid=False),
            ),
            y=axis.y("x:Q", claim.x),
            color=alt.value(OKABE_ITO[4]),
            tooltip=["trial:N", "condition:N", "x:Q"],
        )
    )
    if claim.x in claim.log:
        return themed(points.properties(width=_WIDTH, height=_HEIGHT))
    rule = (
        alt.Chart(data([{"threshold": claim.threshold}]))
        .mark_rule(strokeDash=[5, 4], color=INK)
        .encode(y=alt.Y("threshold:Q", scale=axis.scale()))
    )
    return themed((points + rule).properties(width=_WIDTH, height=_HEIGHT))
