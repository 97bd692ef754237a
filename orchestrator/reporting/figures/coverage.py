"""Coverage: outcomes of trials, and measurements of snapshots."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import altair as alt

from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.hue import Hue, level_text, varied_columns
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query, identifier
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import counts
from orchestrator.reporting.figures.theme import INK, OKABE_ITO, WIDE, data, themed
from orchestrator.statistics.claim import counted

COMPLETED = "completed"
SHORT = "target loss not reached"
DIVERGED = "diverged"
FAILED = "failed"
UNFINISHED = "not finished"
OUTCOMES = (COMPLETED, SHORT, DIVERGED, FAILED, UNFINISHED)
"""Outcomes of a trial, from best to worst."""

MEASURED = "measured"
NOT_FINITE = "some value not finite"
NOT_MEASURED = "failed"
ANSWERS = (MEASURED, NOT_FINITE, NOT_MEASURED)
"""Outcomes of one request on one snapshot."""
_NOT_BEGUN = "not started"
_MISSING = "not measured yet"
_ROW_HEIGHT = 24
_LABEL = 200
_WIDTH = WIDE - 300
_DIGIT = 9
Part = tuple[str, str, int]
"""A row of a panel, one outcome, and the number of trials or snapshots with that outcome."""


def _outcome(target: float | None) -> str:
    short = f"WHEN stop_reason <> 'train_loss' THEN '{SHORT}'" if target is not None else ""
    return f"""CASE
                WHEN status = 'failed' THEN '{FAILED}'
                WHEN status <> 'completed' THEN '{UNFINISHED}'
                WHEN stop_reason = 'diverged' THEN '{DIVERGED}'
                {short}
                ELSE '{COMPLETED}'
            END"""


def outcomes(level: str | None, target: float | None) -> Query:
    """Return the query for the number of trials per outcome.

    Args:
        level: Column of a hyperparameter, whose levels are counted separately.
        target: Training loss at which training was to stop, if any.
    """
    name = identifier(level) if level else "NULL"
    return Query(
        "outcomes",
        "number of trials per outcome",
        f"""
        WITH ended AS (SELECT {name} AS level, {_outcome(target)} AS outcome FROM trials)
        SELECT level, outcome, count(*) AS trials
        FROM ended GROUP BY ALL ORDER BY level NULLS LAST, outcome
        """,
    )


def set_apart(hyperparameters: Sequence[str], target: float | None, milestones: int) -> Query:
    """Return the query for trials that ended abnormally, missed a milestone or lack values.

    Args:
        hyperparameters: Columns of the varied hyperparameters.
        target: Training loss at which training was to stop, if any.
        milestones: Number of training losses at which snapshots were requested.
    """
    # Renamed, because the study's own names can be anything.
    names = [f"hyperparameter_{n}" for n, _ in enumerate(hyperparameters, 1)]
    settings = "".join(
        f", {identifier(column)} AS {name}"
        for name, column in zip(names, hyperparameters, strict=True)
    )
    shown = "".join(f", {name}" for name in names)
    return Query(
        "set_apart",
        "every trial that failed, is unfinished, did not reach a requested training loss, or has "
        "values that are not finite or failed",
        f"""
        WITH taken AS (
            SELECT trial_id, count(*) AS snapshots FROM checkpoints GROUP BY trial_id
        ), reached AS (
            SELECT trial_id, count(DISTINCT train_loss_milestone) AS milestones
            FROM milestones GROUP BY trial_id
        ), lost AS (
            SELECT trial_id, count(*) AS lost_values, min(error) AS first_error
            FROM measures WHERE status <> 'ok' GROUP BY trial_id
        ), ended AS (
            SELECT trial_id{settings}, seed, error, {_outcome(target)} AS outcome FROM trials
        )
        SELECT trial_id{shown}, seed, outcome, coalesce(snapshots, 0) AS snapshots,
            {milestones} - coalesce(milestones, 0) AS missed,
            coalesce(lost_values, 0) AS lost_values, coalesce(error, first_error) AS error
        FROM ended LEFT JOIN taken USING (trial_id) LEFT JOIN reached USING (trial_id)
            LEFT JOIN lost USING (trial_id)
        WHERE outcome <> '{COMPLETED}' OR missed > 0 OR lost_values > 0
        ORDER BY trial_id
        """,
    )


ANSWERED = Query(
    "answered",
    "number of snapshots on which each request gave only finite values, some that are not finite, "
    "or failed",
    f"""
    WITH answers AS (
        SELECT request, CASE
            WHEN bool_or(status NOT IN ('ok', 'nonfinite')) THEN '{NOT_MEASURED}'
            WHEN bool_or(status = 'nonfinite') THEN '{NOT_FINITE}'
            ELSE '{MEASURED}' END AS answer
        FROM measures GROUP BY request, checkpoint_id
    )
    SELECT request, answer, count(*) AS snapshots FROM answers
    GROUP BY ALL ORDER BY request, answer
    """,
)


@ReportFigure("coverage", "Coverage: trials and measurements", place=110)
def coverage_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot trials by outcome and snapshots by the result of each request; list flagged trials."""
    training = source.study.get("training", {})
    target = training.get("stop", {}).get("train_loss")
    milestones = len(source.study.get("checkpoints", {}).get("train_loss", ()))
    by_level = outcomes((hue.of_trial or hue.column) if hue else None, target)
    apart = set_apart(varied_columns(source), target, milestones)
    queries = (by_level, ANSWERED, apart)
    progress = read_progress(source)
    trials = list(_trials(source.rows(by_level).tuples(), hue))
    if not trials:
        reason = f"None of {counted(progress.expected_trials, 'trial')} has started."
        raise Missing(reason, *queries)
    not_begun = progress.expected_trials - sum(count for *_, count in trials)
    if not_begun > 0:
        trials.append((_NOT_BEGUN, _NOT_BEGUN, not_begun))
    answers: list[Part] = source.rows(ANSWERED).tuples()
    for request, missing in progress.unmeasured.items():
        answers += [(request, _MISSING, missing)] if missing else []
    rows = source.rows(apart)
    return Drawn(
        caption=_caption(trials, answers, len(rows)),
        alternative=(
            f"Stacked bars. Trials: {_told(trials)}. "
            f"Requests on snapshots: {_told(answers) or 'none yet'}."
        ),
        queries=queries,
        table=Table.of(
            (
                *("trial", *(name.replace("_", " ") for name in varied_columns(source)), "seed"),
                *("outcome", "snapshots", "training losses not reached", "values lost"),
                "first error",
            ),
            rows.tuples(),
        ),
        chart=_chart(trials, answers, hue),
    )


def _trials(rows: Iterable[tuple[Any, str, int]], hue: Hue | None) -> Iterator[Part]:
    for level, outcome, count in rows:
        yield (level_text(level) if hue else "all trials", outcome, count)


def _told(parts: Sequence[Part]) -> str:
    totals: dict[str, int] = {}
    for _, outcome, count in parts:
        totals[outcome] = totals.get(outcome, 0) + count
    return ", ".join(f"{outcome} {count:,}" for outcome, count in totals.items())


def _caption(trials: Sequence[Part], answers: Sequence[Part], apart: int) -> str:
    whole = all(outcome == COMPLETED for _, outcome, _ in trials)
    measured = all(answer == MEASURED for _, answer, _ in answers)
    listed = (
        f"The table lists {counted(apart, 'flagged trial')}: failed, unfinished, short of a "
        "requested training loss, or with non-finite or failed values."
        if apart
        else "No trial is flagged."
    )
    return (
        f"Top: outcomes of trials ({_told(trials)}). Bottom: results of each request on each "
        f"snapshot ({_told(answers) or 'none yet'}). "
        f"{'All trials and measurements are included. ' if whole and measured else ''}{listed}"
    )


def _chart(trials: list[Part], answers: list[Part], hue: Hue | None) -> dict[str, Any]:
    panels = [
        _panel(
            trials,
            (*OUTCOMES, _NOT_BEGUN),
            ("trials", hue.title if hue else None, "outcome of trials"),
            "Trials",
        )
    ]
    if answers:
        panels.append(
            _panel(
                answers,
                (*ANSWERS, _MISSING),
                ("snapshots", None, "result of the request"),
                "Snapshots per request",
            )
        )
    chart = alt.vconcat(*panels).resolve_scale(color="independent")
    return themed(chart, room=_LABEL + 56)


def _panel(
    parts: list[Part], order: Sequence[str], titles: tuple[str, str | None, str], title: str
) -> Any:
    counted_in, down, legend = titles
    rows = list(dict.fromkeys(row for row, *_ in parts))
    most = max(sum(count for row, _, count in parts if row == one) for one in rows)
    span = counts(most)
    records = list(_segments(parts, rows, order, most))
    used = [outcome for outcome in order if outcome in {record["outcome"] for record in records}]
    colours = dict(zip(order, (OKABE_ITO[n] for n in (2, 1, 0, 3, 5, 6)), strict=False))
    base = alt.Chart(data(records)).encode(
        y=alt.Y(
            "row:N",
            title=down,
            sort=rows,
            scale=alt.Scale(domain=rows),
            axis=alt.Axis(ticks=False, grid=False, labelLimit=_LABEL),
        ),
        x=span.x("from:Q", counted_in),
        tooltip=[
            alt.Tooltip("row:N", title=down or "group"),
            alt.Tooltip("outcome:N", title=legend),
            alt.Tooltip("count:Q", title=counted_in, format=",d"),
        ],
    )
    bars = base.mark_bar(stroke=INK, strokeOpacity=0.4).encode(
        x2="to:Q",
        color=alt.Color(
            "outcome:N",
            title=legend,
            scale=alt.Scale(domain=used, range=[colours[one] for one in used]),
        ),
    )
    # The number and its position distinguish segments without colour.
    text = (
        base.transform_filter("datum.wide")
        .mark_text(fontSize=11, color="#111111")
        .encode(x=alt.X("middle:Q"), text=alt.Text("count:Q", format=",d"))
    )
    return alt.layer(bars, text).properties(
        width=_WIDTH, height=_ROW_HEIGHT * len(rows), title=title
    )


def _segments(
    parts: list[Part], rows: Sequence[str], order: Sequence[str], most: int
) -> Iterator[dict[str, Any]]:
    for row in rows:
        start = 0
        for outcome in order:
            count = sum(n for one, other, n in parts if (one, other) == (row, outcome))
            if not count:
                continue
            digits = _DIGIT * len(f"{count:,}")
            yield {
                "row": row,
                "outcome": outcome,
                "count": count,
                "from": start,
                "to": start + count,
                "middle": start + count / 2,
                "wide": _WIDTH * count / most > digits,
            }
            start += count
