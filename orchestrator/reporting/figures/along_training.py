"""Margin and flatness over updates and over epochs, by batch size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np
from scipy import stats

from orchestrator.reporting.data.hue import Hue, level_text
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import along_training
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure, measured
from orchestrator.reporting.figures.scales import LEAST, MOST, Span, linear, logarithmic
from orchestrator.reporting.figures.theme import (
    MARGIN_TITLE,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    TRACE_TITLE,
    data,
    hue_color,
    hue_shape,
    themed,
)
from orchestrator.statistics.claim import joined
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray, positive_log10
from orchestrator.statistics.intervals.magnitude import back, power_of_two
from orchestrator.statistics.matched.curves import Curves

_MEASURES = {"margin_mean": MARGIN_TITLE, "hessian_trace": TRACE_TITLE}
_TIMES = {"step": "updates", "epoch": "epochs"}
_MOST_TIMES = 30


@ReportFigure("training", "Margin and flatness along training", place=90)
def training_figure(source: Source, hue: Hue | None) -> Drawn:
    """Plot means over networks with intervals, at equal updates and at equal epochs."""
    measures = measured(source, _MEASURES)
    query = along_training(measures, hue.column if hue else None)
    rows = source.rows(query)
    records = [
        record
        for measure in measures
        for time in _TIMES
        for record in _curve_records(rows, measure, time, hue)
    ]
    if not records:
        raise Missing("No completed trial has a snapshot with a finite value yet.", query)
    missing = [name for name in _MEASURES if name not in measures]
    by = f" per {hue.title}" if hue else ""
    sentences = [
        f"Means{by} over completed trials, with 95 % Student intervals over networks. Those of "
        "the trace are computed from its logarithm. Between its snapshots, a network’s value is "
        "interpolated in the logarithm of time. A mean is drawn where at least half of its "
        "networks are measured. Left: at the same number of updates; right: at the same number of "
        "epochs. Where curves coincide, that measure of time explains the difference.",
        f"No snapshot has a {missing[0]}, so its panels are omitted." if missing else "",
    ]
    return Drawn(
        caption=joined(sentences),
        alternative=_alternative(records, measures, hue),
        queries=(query,),
        table=_table(records, hue),
        chart=_chart(records, measures, hue),
    )


def _curve_records(
    rows: Rows, measure: str, time: str, hue: Hue | None
) -> Iterator[dict[str, Any]]:
    logarithmic = measure == "hessian_trace"
    values = positive_log10(rows.floats(measure)) if logarithmic else rows.floats(measure)
    groups = rows.groups()
    curves = Curves(groups.trial, rows.floats(time), values)
    levels = np.array([level_text(v) for v in rows["hue"]] if hue else ["all"] * len(rows))
    for level in hue.levels if hue else ("all",):
        trials = np.unique(groups.trial[levels == level])
        if not len(trials):
            continue
        points = _times(curves, trials)
        table = curves.at(points, trials)
        for point, column in zip(points, table.T, strict=True):
            found = column[np.isfinite(column)]
            if 2 * len(found) >= len(trials):
                yield {
                    "measure": measure,
                    "time": time,
                    "hue": level,
                    "at": float(point),
                    "n": len(found),
                    **_interval(found, logarithmic),
                }


def _times(curves: Curves, trials: IntArray) -> FloatArray:
    """Return the times of snapshots, thinned to at most ``_MOST_TIMES``."""
    found = np.unique(np.concatenate([curves.of(int(trial))[0] for trial in trials]))
    if len(found) <= _MOST_TIMES:
        return found
    kept = np.unique(np.linspace(0, len(found) - 1, _MOST_TIMES).round().astype(int))
    thinned: FloatArray = found[kept]
    return thinned


def _interval(values: FloatArray, on_log_axis: bool) -> dict[str, float | None]:
    power = power_of_two(values)
    values = np.ldexp(values, -power)
    mean = float(np.mean(values))
    low = high = None
    if len(values) > 1:
        error = float(np.std(values, ddof=1)) / len(values) ** 0.5
        half_width = float(stats.t.ppf(0.975, len(values) - 1)) * error
        low, high = mean - half_width, mean + half_width
    ends = {"mean": back(mean, power), "low": back(low, power), "high": back(high, power)}
    return {name: _raised(end) for name, end in ends.items()} if on_log_axis else ends


def _raised(exponent: float | None) -> float | None:
    """Raise ten to an exponent; ends of intervals can underflow to 0 or overflow to infinity."""
    if exponent is None:
        return None
    try:
        return float(10.0**exponent)
    except OverflowError:
        return math.inf


def _chart(
    records: list[dict[str, Any]], measures: Sequence[str], hue: Hue | None
) -> dict[str, Any]:
    chosen = [
        [record for record in records if (record["measure"], record["time"]) == (measure, time)]
        for measure in measures
        for time in _TIMES
    ]
    return themed(alt.concat(*(_panel(part, hue) for part in chosen if part), columns=2))


def _panel(records: list[dict[str, Any]], hue: Hue | None) -> Any:
    measure, time = records[0]["measure"], records[0]["time"]
    times = logarithmic((r["at"] for r in records), form="~s" if time == "step" else "")
    span = _span(records, measure == "hessian_trace")
    drawn = [
        {**record, **{end: _inside(record[end], span) for end in ("low", "high")}}
        for record in records
    ]
    base = alt.Chart(data(drawn)).encode(
        x=times.x("at:Q", f"{_TIMES[time]} (logarithmic)"),
        color=hue_color(hue),
        tooltip=[
            *([alt.Tooltip("hue:N", title=hue.title)] if hue else []),
            alt.Tooltip("at:Q", title=_TIMES[time], format=",.4~g"),
            alt.Tooltip("mean:Q", format=".4~g"),
            alt.Tooltip("low:Q", title="95 % from", format=".4~g"),
            alt.Tooltip("high:Q", title="95 % to", format=".4~g"),
            alt.Tooltip("n:Q", title="networks"),
        ],
    )
    y = span.y("mean:Q", _MEASURES[measure])
    band = base.mark_area(opacity=0.2, clip=True).encode(
        y=span.y("low:Q", _MEASURES[measure]), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2).encode(y=y)
    dots = base.mark_point(filled=True, size=28, opacity=1).encode(y=y, shape=hue_shape(hue))
    return alt.layer(band, line, dots).properties(width=PANEL_WIDTH, height=PANEL_HEIGHT)


def _inside(end: float | None, span: Span) -> float | None:
    """Clamp an end of an interval to the range of the axis."""
    return None if end is None else min(max(end, span.low), span.high)


def _span(records: list[dict[str, Any]], on_log_axis: bool) -> Span:
    """Return the range of the means, plus as much of their intervals as keeps them readable."""

    def scaled(*names: str) -> FloatArray:
        found = [r[name] for r in records for name in names if r[name] is not None]
        values: FloatArray = np.clip(np.array(found), LEAST if on_log_axis else -MOST, MOST)
        return positive_log10(values) if on_log_axis else values

    means, ends = scaled("mean"), scaled("mean", "low", "high")
    least = 0.1 if on_log_axis else 0.1 * float(np.abs(means).max())
    room = max(float(np.ptp(means)), least) / 2
    low = max(float(ends.min()), float(means.min()) - room)
    high = min(float(ends.max()), float(means.max()) + room)
    span = logarithmic([10.0**low, 10.0**high]) if on_log_axis else linear([low, high])
    drawn = [record["mean"] for record in records]
    return replace(span, cut=(logarithmic if on_log_axis else linear)(drawn).cut)


def _alternative(records: list[dict[str, Any]], measures: Sequence[str], hue: Hue | None) -> str:
    last = {(r["measure"], r["hue"]): r["mean"] for r in records if r["time"] == "step"}
    ends = "; ".join(
        f"{hue.title + ' ' + level + ', ' if hue else ''}{_MEASURES[measure].partition(' (')[0]} "
        f"{mean:.3g}"
        for (measure, level), mean in last.items()
    )
    return (
        f"{2 * len(measures)} line charts of {' and '.join(measures)} over updates and over "
        f"epochs. Last values: {ends}."
    )


def _table(records: list[dict[str, Any]], hue: Hue | None) -> Table:
    heads = ["measure", "along", hue.title if hue else "networks shown", "at"]
    rows = [
        (r["measure"], _TIMES[r["time"]], r["hue"], r["at"], r["mean"], r["low"], r["high"], r["n"])
        for r in records
    ]
    return Table.of((*heads, "mean", "from", "to", "networks"), rows)
