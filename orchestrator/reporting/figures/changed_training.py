"""Flatness against margin under changed training: a test whether they stay on one line."""

from __future__ import annotations

import hashlib
from typing import Any

import altair as alt
import numpy as np

from orchestrator.reporting.data.network_queries import by_intervention
from orchestrator.reporting.data.open_results import Rows, Source, claims_of
from orchestrator.reporting.data.queries import MOST_POINTS
from orchestrator.reporting.data.ways_of_training import ways_of_training
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import CORRELATIONS, linear, logarithmic
from orchestrator.reporting.figures.theme import (
    INK,
    MARGIN_TITLE,
    OKABE_ITO,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    SHAPES,
    TRACE_TITLE,
    data,
    themed,
)
from orchestrator.statistics import Estimate, Interventions, compare_interventions
from orchestrator.statistics.claim import with_interval
from orchestrator.statistics.claims import TRAIN_ERROR_THRESHOLD
from orchestrator.statistics.intervals.estimate import positive_log10
from orchestrator.study.design import ranged_columns

_MEASURES = ["margin_mean", "hessian_trace"]
_ACROSS = "all together"
Correlation = tuple[str, Estimate]


@ReportFigure(
    "interventions",
    "Flatness and margin when training is changed",
    place=30,
    methods=(
        "Ways of training",
        "A shift is a mean minus the mean under the usual training, in standard deviations "
        "within ways of training. The share of variance that ways of training explain beyond "
        "seeds is σ²_ways / (σ²_ways + σ²_seeds), with an interval from the noncentral F "
        "distribution.",
    ),
)
def interventions_figure(source: Source) -> Drawn:
    """Plot trace against margin by way of training, with correlations within and across ways."""
    claimed = "flatness_is_an_epiphenomenon" in {claim.name for claim in claims_of(source)}
    measures = [name for name in _MEASURES if source.has(name)]
    query = by_intervention(measures)
    rows = source.rows(query)
    ways, reference = ways_of_training(rows, ranged_columns(source.study))
    if len(set(ways)) < 2 or len(measures) < 2:
        reason = (
            "Loss, optimizer, label smoothing and weight decay are the same for all networks or "
            "drawn from a range, or all snapshots lack margin_mean or hessian_trace."
        )
        raise Missing(reason, query, asked=claimed)
    small = rows.floats("train_error") <= TRAIN_ERROR_THRESHOLD
    kept = rows.select(small)
    labels = [way for way, keep in zip(ways, small, strict=True) if keep]
    found = compare_interventions(
        positive_log10(kept.floats("hessian_trace")),
        kept.floats("margin_mean"),
        labels,
        reference,
        kept.groups(),
    )
    if found.across.value is None:
        reason = f"With a training error of at most {TRAIN_ERROR_THRESHOLD:g}: "
        raise Missing(f"{reason}{found.across.reason}.", query)
    inside = _inside(found, reference)
    told = "; ".join(f"{name} {with_interval(r, 2)}" for name, r in inside)
    across = with_interval(found.across, 2)
    return Drawn(
        caption=(
            f"Snapshots with a training error of at most {TRAIN_ERROR_THRESHOLD:g}, by the way "
            "their network was trained. If the margin determined the flatness, all points would "
            f"lie on one line. Pearson’s r between log trace and mean margin: {told}; {across} "
            "over all together. Each trace is that of the loss used for training."
        ),
        alternative=(
            f"Scatter plot of Hessian trace and mean margin by way of training, and dot plot of "
            f"their correlations: {told}; over all {across}."
        ),
        queries=(query,),
        table=_table(found, reference),
        chart=_chart(kept, labels, [*inside, (_ACROSS, found.across)]),
    )


def _inside(found: Interventions, reference: str) -> list[Correlation]:
    """Return the correlation within each way of training, with the reference first."""
    others = [(one.name, one.correlation) for one in found.effects]
    return [(reference, found.reference), *others]


def _chart(rows: Rows, labels: list[str], correlations: list[Correlation]) -> dict[str, Any]:
    names = list(dict.fromkeys([name for name, _ in correlations[:-1]] + labels))
    colours = [OKABE_ITO[place % len(OKABE_ITO)] for place in range(len(names))]
    shapes = [SHAPES[place % len(SHAPES)] for place in range(len(names))]
    scales = {
        "color": alt.Color(
            "way:N",
            title="training",
            scale=alt.Scale(domain=names, range=colours),
            legend=alt.Legend(columns=1, labelLimit=PANEL_WIDTH - 20),
        ),
        "shape": alt.Shape("way:N", title="training", scale=alt.Scale(domain=names, range=shapes)),
    }
    return themed(
        alt.concat(
            _points(rows, labels, scales), _correlations(correlations, colours, shapes), columns=2
        ).resolve_scale(color="independent", shape="independent")
    )


def _points(rows: Rows, labels: list[str], scales: dict[str, Any]) -> Any:
    trace, margin = rows.floats("hessian_trace"), rows.floats("margin_mean")
    drawable = np.flatnonzero(np.isfinite(trace) & (trace > 0) & np.isfinite(margin)).tolist()
    steps = rows["step"]

    def place(row: int) -> bytes:
        name = f"{rows['trial_id'][row]}-{steps[row]}"
        return hashlib.md5(name.encode()).digest()  # noqa: S324 - a sample, not a secret

    records: list[dict[str, Any]] = [
        {"way": labels[row], "trace": float(trace[row]), "margin": float(margin[row])}
        for row in sorted(sorted(drawable, key=place)[:MOST_POINTS])
    ]
    traces = logarithmic(record["trace"] for record in records)
    margins = linear(record["margin"] for record in records)
    return (
        alt.Chart(data(records))
        .mark_point(size=32, strokeWidth=1.5, opacity=0.8)
        .encode(
            x=traces.x("trace:Q", TRACE_TITLE),
            y=margins.y("margin:Q", MARGIN_TITLE),
            tooltip=[
                alt.Tooltip("way:N", title="training"),
                alt.Tooltip("trace:Q", format=".3~g"),
                alt.Tooltip("margin:Q", format=".3~g"),
            ],
            **scales,
        )
        .properties(width=PANEL_WIDTH, height=PANEL_HEIGHT)
    )


def _correlations(correlations: list[Correlation], colours: list[str], shapes: list[str]) -> Any:
    records = [
        {"way": name, "r": r.value, "low": r.low, "high": r.high, "snapshots": r.n}
        for name, r in correlations
        if r.value is not None
    ]
    order = [name for name, _ in correlations]
    several = len(order) - 1
    scale = CORRELATIONS.scale()
    base = alt.Chart(data(records)).encode(
        y=alt.Y(
            "way:N",
            title=None,
            scale=alt.Scale(domain=order),
            sort=order,
            axis=alt.Axis(labels=False, ticks=False, grid=True),
        ),
        color=alt.Color(
            "way:N", scale=alt.Scale(domain=order, range=[*colours[:several], INK]), legend=None
        ),
        tooltip=[
            alt.Tooltip("way:N", title="training"),
            alt.Tooltip("r:Q", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="95 % to", format=".3f"),
            alt.Tooltip("snapshots:Q"),
        ],
    )
    zero = alt.Chart(data([{"at": 0}])).mark_rule(color=INK, opacity=0.6).encode(x="at:Q")
    spread = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=CORRELATIONS.x("r:Q", "Pearson’s r (bottom: all together)"),
        shape=alt.Shape(
            "way:N",
            scale=alt.Scale(
                domain=order,
                range=[*shapes[:several], SHAPES[several] if several < len(SHAPES) else "wedge"],
            ),
            legend=None,
        ),
    )
    return alt.layer(zero, spread, dots).properties(width=PANEL_WIDTH, height=PANEL_HEIGHT)


def _table(found: Interventions, reference: str) -> Table:
    heads = (
        *("training", "r", "from", "to", "snapshots", "trials"),
        *("shift of log trace, sd", "from", "to", "shift of margin, sd", "from", "to"),
        *("moves", "remark"),
    )
    effects = {one.name: one for one in found.effects}
    rows: list[tuple[Any, ...]] = []
    for name, r in [*_inside(found, reference), (_ACROSS, found.across)]:
        shifts: tuple[Any, ...] = (None,) * 6
        moves = ""
        if name in effects:
            trace, margin = effects[name].x_shift, effects[name].y_shift
            shifts = (trace.value, trace.low, trace.high, margin.value, margin.low, margin.high)
            moves = effects[name].moves.replace("x", "trace").replace("y only", "margin only")
        rows.append((name, r.value, r.low, r.high, r.n, r.n_groups, *shifts, moves, r.reason))
    return Table.of(heads, rows)
