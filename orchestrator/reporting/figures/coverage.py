"""Coverage: outcomes of trials, and measurements of snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import altair as alt

from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.coverage_queries import (
    ANSWERED,
    ANSWERS,
    COMPLETED,
    MEASURED,
    OUTCOMES,
    outcomes,
    set_apart,
)
from orchestrator.reporting.data.hue import Hue, level_text, varied_columns
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import counts
from orchestrator.reporting.figures.theme import INK, OKABE_ITO, WIDE, data, themed
from orchestrator.statistics.claim import counted

_NOT_BEGUN = "not started"
_MISSING = "not measured yet"
_ROW_HEIGHT = 24
_LABEL = 200
_WIDTH = WIDE - 300
_DIGIT = 9
Part = tuple[str, str, int]
"""A row of a panel, one outcome, and the number of trials or snapshots with that outcome."""


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
        x=alt.X(
            "from:Q",
            title=counted_in,
            scale=span.scale(),
            axis=span.axis(),
        ),
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
