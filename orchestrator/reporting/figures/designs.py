"""The same correlations under four designs, which differ in the networks they compare."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import altair as alt

from orchestrator.reporting.data.gap_predictors import GAPS
from orchestrator.reporting.data.network_queries import MOST_COMPARED, final_networks
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query, identifier
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure, measured
from orchestrator.reporting.figures.scales import CORRELATIONS
from orchestrator.reporting.figures.theme import INK, OKABE_ITO, SHAPES, WIDE, data, themed
from orchestrator.statistics import (
    Estimate,
    at_matched_stages,
    at_matched_times,
    kendall,
    stratified_correlation,
)
from orchestrator.statistics.claim import with_interval
from orchestrator.statistics.intervals.estimate import FloatArray
from orchestrator.statistics.matched.stages import MatchedRows

_MEASURES = {"margin_mean": "mean margin", "hessian_trace": "Hessian trace"}
_DESIGNS = ("trained networks", "same train loss", "same updates", "same epoch")
_ROW_HEIGHT = 64
Found = tuple[str, str, str, Estimate, int]


_FEW_TRIALS = f"""(
            SELECT trial_id FROM trials
            QUALIFY row_number() OVER (ORDER BY md5(trial_id)) <= {MOST_COMPARED}
        )"""


def at_milestones(measures: Iterable[str]) -> Query:
    """Return the query for the snapshot at which each trial reached each requested loss."""
    names = "".join(f", {identifier(name)}" for name in measures)
    return Query(
        "at_milestones",
        "the snapshot at which each trial reached each training loss, for at most "
        f"{MOST_COMPARED} trials, chosen by a hash",
        f"""
        SELECT trial_id, condition_id, reached.train_loss_milestone, loss_gap, error_gap{names}
        FROM wide
        JOIN (SELECT checkpoint_id, train_loss_milestone FROM milestones) AS reached
            USING (checkpoint_id)
        SEMI JOIN {_FEW_TRIALS} USING (trial_id)
        ORDER BY trial_id, reached.train_loss_milestone DESC
        """,
    )


def at_times(measures: Iterable[str]) -> Query:
    """Return the query for snapshots of completed trials, to compare at one update or epoch."""
    names = "".join(f", {identifier(name)}" for name in measures)
    return Query(
        "at_times",
        f"snapshots of at most {MOST_COMPARED} completed trials, chosen by a hash",
        f"""
        SELECT trial_id, condition_id, step, epoch, loss_gap, error_gap{names}
        FROM wide SEMI JOIN {_FEW_TRIALS} USING (trial_id)
        WHERE step > 0 AND status = 'completed'
        ORDER BY trial_id, step
        """,
    )


@ReportFigure(
    "designs",
    "The same comparison at matched loss, updates and epochs",
    place=80,
    methods=(
        "Matched designs",
        "τ_b over only those pairs of networks that are at the same train loss, update or "
        "epoch. Values between snapshots are interpolated linearly in the logarithm of time.",
    ),
)
def designs_figure(source: Source) -> Drawn:
    """Plot τ of margin and trace with both gaps, over trained networks and at matched stages."""
    measures = measured(source, _MEASURES)
    queries = (
        final_networks(measures),
        at_milestones(measures),
        at_times(measures),
    )
    found = _estimates(source, measures)
    if all(estimate.value is None for *_, estimate, _ in found):
        raise Missing("Too few networks have been trained and measured for a comparison.", *queries)
    disagreeing = _disagreements(found)
    told = "; ".join(disagreeing) if disagreeing else "the designs do not contradict each other"
    return Drawn(
        caption=(
            "Kendall’s τ_b with 95 % intervals from a bootstrap over trials within conditions. "
            "Trained networks differ in how far they were trained. Matched designs compare only "
            "networks at the same train loss (the milestones of the study), or after the same "
            "number of updates or epochs (interpolated between snapshots). In this study, "
            f"{told}."
        ),
        alternative=(
            f"Dot plot of rank correlations of {' and '.join(_MEASURES[m] for m in measures)} "
            f"with the loss gap and the error gap under four designs; {told}."
        ),
        queries=queries,
        table=_table(found),
        chart=_chart(found),
    )


def _estimates(source: Source, measures: list[str]) -> list[Found]:
    final = source.rows(final_networks(measures))
    reached = source.rows(at_milestones(measures))
    along = source.rows(at_times(measures))
    groups, milestones = final.groups(), reached.floats("train_loss_milestone")
    pairs = list(itertools.product(measures, GAPS))

    def columns(rows: Rows, measure: str, gap: str) -> dict[str, FloatArray]:
        return {"x": rows.floats(measure), "y": rows.floats(gap)}

    # Design by design: pairs share their resamples, few of which are kept.
    plain = [
        (kendall(final.floats(measure), final.floats(gap), groups), 1) for measure, gap in pairs
    ]
    at_loss = [
        at_matched_stages(columns(reached, *pair), milestones, reached.groups()) for pair in pairs
    ]
    in_time = [
        [
            at_matched_times(columns(along, *pair), along.floats(time), along.groups())
            for pair in pairs
        ]
        for time in ("step", "epoch")
    ]
    by_design = [
        plain,
        *([(_inside(one), len(one.stages)) for one in design] for design in (at_loss, *in_time)),
    ]
    return [
        (measure, gap, design, estimate, stages)
        for (measure, gap), estimates in zip(pairs, zip(*by_design, strict=True), strict=True)
        for design, (estimate, stages) in zip(_DESIGNS, estimates, strict=True)
    ]


def _inside(matched: MatchedRows) -> Estimate:
    columns = matched.columns
    return stratified_correlation(columns["x"], columns["y"], matched.stratum, matched.groups)


def _disagreements(found: list[Found]) -> list[str]:
    """Describe each pair of measure and gap whose τ is significant with opposite signs."""
    told = []
    for measure, gap in dict.fromkeys((one[0], one[1]) for one in found):
        sure = [
            (design, estimate)
            for m, g, design, estimate, _ in found
            if (m, g) == (measure, gap) and _sign(estimate)
        ]
        if len({_sign(estimate) for _, estimate in sure}) > 1:
            parts = ", ".join(f"{design} {with_interval(e, 2)}" for design, e in sure)
            told.append(f"the designs disagree on {_MEASURES[measure]} and {GAPS[gap]} ({parts})")
    return told


def _sign(estimate: Estimate) -> int:
    """Return the sign of an estimate, or 0 if its interval is missing or contains 0."""
    if estimate.low is None or estimate.high is None:
        return 0
    return int(estimate.low > 0) - int(estimate.high < 0)


def _chart(found: list[Found]) -> dict[str, Any]:
    records = [
        {
            "pair": _pair(measure, gap),
            "design": design,
            "tau": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "rows": estimate.n,
            "trials": estimate.n_groups,
            "stages": stages,
        }
        for measure, gap, design, estimate, stages in found
        if estimate.value is not None
    ]
    pairs = list(dict.fromkeys(_pair(one[0], one[1]) for one in found))
    designs = list(_DESIGNS)
    scale = CORRELATIONS.scale()
    base = alt.Chart(data(records)).encode(
        y=alt.Y(
            "pair:N",
            title=None,
            sort=pairs,
            scale=alt.Scale(domain=pairs),
            axis=alt.Axis(ticks=False, grid=False),
        ),
        yOffset=alt.YOffset("design:N", sort=designs, scale=alt.Scale(domain=designs)),
        color=alt.Color(
            "design:N",
            title="networks compared",
            scale=alt.Scale(domain=designs, range=[OKABE_ITO[n] for n in (4, 3, 2, 5)]),
        ),
        tooltip=[
            alt.Tooltip("pair:N", title="measure, gap"),
            alt.Tooltip("design:N", title="networks compared"),
            alt.Tooltip("tau:Q", title="τ_b", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="95 % to", format=".3f"),
            alt.Tooltip("rows:Q", title="values"),
            alt.Tooltip("trials:Q"),
            alt.Tooltip("stages:Q"),
        ],
    )
    zero = alt.Chart(data([{"at": 0}])).mark_rule(color=INK, opacity=0.6).encode(x="at:Q")
    spread = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=65, opacity=1).encode(
        x=CORRELATIONS.x("tau:Q", "Kendall’s τ_b"),
        shape=alt.Shape(
            "design:N",
            title="networks compared",
            scale=alt.Scale(domain=designs, range=list(SHAPES[:4])),
        ),
    )
    chart = alt.layer(zero, spread, dots)
    return themed(chart.properties(width=WIDE - 300, height=_ROW_HEIGHT * len(pairs)), room=220)


def _pair(measure: str, gap: str) -> str:
    return f"{_MEASURES[measure]}, {GAPS[gap]}"


def _table(found: list[Found]) -> Table:
    heads = (
        *("measure", "gap", "networks compared", "τ_b", "from", "to"),
        *("values", "trials", "stages", "left out", "remark"),
    )
    rows = [
        (
            *(measure, GAPS[gap], design, e.value, e.low, e.high),
            *(e.n, e.n_groups, stages, e.n_excluded, e.reason),
        )
        for measure, gap, design, e, stages in found
    ]
    return Table.of(heads, rows)
