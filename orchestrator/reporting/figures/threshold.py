"""Headline figure: correlation of flatness and margin against the training-error threshold."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import altair as alt

from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query, identifier, snapshots
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import CORRELATIONS, logarithmic
from orchestrator.reporting.figures.theme import (
    INK,
    OKABE_ITO,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    SHAPES,
    data,
    themed,
)
from orchestrator.statistics import Estimate, partial_pearson, pearson, spearman, within_pearson
from orchestrator.statistics.claim import number, with_interval
from orchestrator.statistics.intervals.estimate import positive_log10

THRESHOLDS = (1.0, 0.5, 0.3, 0.1, 0.05, 0.02, 0.01, 0.005)
FLATNESS = {
    "hessian_trace": "Hessian trace",
    "hessian_eigenvalue_1": "largest eigenvalue",
}
_COLOURS = dict(zip(FLATNESS.values(), (OKABE_ITO[3], OKABE_ITO[4]), strict=True))
_FEWEST = 6
_PANELS = {"r": "Pearson’s r", "partial": "Partial r, training loss held fixed"}


def correlation_by_threshold(measure: str, thresholds: Sequence[float]) -> Query:
    """Return the query for the headline correlation, without intervals, in SQL alone."""
    values = ", ".join(f"({threshold:g})" for threshold in thresholds)
    name = identifier(measure)
    return Query(
        f"correlation_{measure}",
        f"correlation of log {measure} and mean margin by training error",
        f"""
        SELECT threshold, count(*) AS snapshots,
            corr(log10({name}), margin_mean) AS pearson_r
        FROM wide, (VALUES {values}) AS thresholds(threshold)
        WHERE step > 0 AND train_error <= threshold AND {name} > 0
            AND isfinite({name}) AND isfinite(margin_mean)
        GROUP BY threshold ORDER BY threshold DESC
        """,
    )


@dataclass(frozen=True)
class Point:
    """Correlations over the snapshots below one threshold.

    Attributes:
        line: Name of the line that the point belongs to.
        threshold: Largest training error.
        plain: Pearson's r of the logarithm of flatness and the mean margin.
        partial: ``plain`` with the logarithm of the training loss held fixed.
        within: ``plain`` with the mean of each condition removed.
        ranked: Spearman’s ρ.
        independent: ``plain`` with Fisher's interval, as if snapshots were independent.
    """

    line: str
    threshold: float
    plain: Estimate
    partial: Estimate
    within: Estimate
    ranked: Estimate
    independent: Estimate


@ReportFigure(
    "threshold",
    "Flatness and margin against the training-error threshold",
    place=10,
    methods=(
        "Correlations",
        "Pearson’s r = cov(x, y) / √(var x · var y). A partial r correlates the residuals of "
        "x and y after linear regression on the quantities held fixed. Within conditions, r "
        "correlates the deviations of trial means from the mean of their condition. "
        "Spearman’s ρ is r of mid-ranks. Fisher’s interval, which ignores trials, is "
        "tanh(arctanh r ± 1.96 / √(n − 3)).",
    ),
)
def threshold_figure(source: Source) -> Drawn:
    """Plot how r(log flatness, mean margin) depends on the training-error threshold."""
    measured = [name for name in FLATNESS if source.has(name)]
    if not source.has("margin_mean") or not measured:
        wanted = "margin_mean" if measured else "hessian_trace or hessian_eigenvalue_1"
        raise Missing(f"No snapshot has a {wanted}, so no correlation is defined.")
    query = snapshots(["margin_mean", *measured])
    rows = source.rows(query)
    lines = [points_by_threshold(rows, name, FLATNESS[name]) for name in measured]
    # Threshold by threshold: lines share their resamples, few of which are kept.
    in_step = list(zip_longest(*lines))
    points = [point for line in zip(*in_step, strict=True) for point in line if point is not None]
    queries = (query, *(correlation_by_threshold(name, THRESHOLDS) for name in measured))
    if not points:
        reason = f"Fewer than {_FEWEST} snapshots have both a margin and a positive flatness."
        raise Missing(reason, *queries)
    return Drawn(
        caption=_caption(points),
        alternative=_alternative(points),
        queries=queries,
        table=threshold_table(points, "logarithm of"),
        chart=threshold_chart(points, "logarithm of", _COLOURS, points[0].line),
    )


def points_by_threshold(rows: Rows, name: str, line: str) -> Iterator[Point]:
    """Yield one point per threshold with enough snapshots, and fewer than the previous one."""
    error, margin = rows.floats("train_error"), rows.floats("margin_mean")
    flatness, loss = positive_log10(rows.floats(name)), positive_log10(rows.floats("train_loss"))
    groups = rows.groups()
    before = None
    for threshold in THRESHOLDS:
        kept = error <= threshold
        inner = groups.select(kept)
        plain = pearson(flatness[kept], margin[kept], inner)
        if plain.value is None or plain.n < _FEWEST or plain.n == before:
            continue
        before = plain.n
        partial = partial_pearson(flatness[kept], margin[kept], [loss[kept]], inner)
        within = within_pearson(flatness[kept], margin[kept], inner)
        ranked = spearman(flatness[kept], margin[kept], inner)
        independent = pearson(flatness[kept], margin[kept])
        yield Point(line, threshold, plain, partial, within, ranked, independent)


def _records(points: list[Point], which: str) -> list[dict[str, Any]]:
    estimates = [(point, point.plain if which == "r" else point.partial) for point in points]
    return [
        {
            "line": point.line,
            "threshold": point.threshold,
            "r": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "snapshots": estimate.n,
            "trials": estimate.n_groups,
        }
        for point, estimate in estimates
        if estimate.value is not None
    ]


def threshold_chart(
    points: list[Point], title: str, colours: Mapping[str, str], counted: str | None
) -> Any:
    """Return two panels, plain and partial correlation, with one line per name in ``points``.

    Args:
        points: Points to draw.
        title: Legend title of the names.
        colours: Name → colour.
        counted: Name of the line whose snapshot counts are shown along the top, or None.
    """
    panels = [_panel(points, which, title, colours, counted) for which in _PANELS]
    return themed(alt.concat(*panels, columns=2))


def _panel(
    points: list[Point],
    which: str,
    title: str,
    colours: Mapping[str, str],
    counted: str | None,
) -> Any:
    names = list(dict.fromkeys(point.line for point in points))
    errors = logarithmic((point.threshold for point in points), 1.25)
    shown = [threshold for threshold in THRESHOLDS if errors.low <= threshold <= errors.high]
    base = alt.Chart(data(_records(points, which))).encode(
        x=alt.X(
            "threshold:Q",
            title="snapshots with training error at most",
            # Loose on the left, tight on the right.
            scale=errors.scale(domain=[errors.high, errors.low]),
            axis=errors.axis(values=shown, format="~g", grid=False),
        ),
        color=alt.Color(
            "line:N",
            title=title,
            scale=alt.Scale(domain=names, range=[colours[name] for name in names]),
        ),
        tooltip=[
            alt.Tooltip("line:N", title=title),
            alt.Tooltip("threshold:Q", title="training error ≤"),
            alt.Tooltip("r:Q", title="r", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="95 % to", format=".3f"),
            alt.Tooltip("snapshots:Q"),
            alt.Tooltip("trials:Q"),
        ],
    )
    y = CORRELATIONS.y("r:Q", "correlation with mean margin")
    shapes = [SHAPES[number % len(SHAPES)] for number in range(len(names))]
    zero = (
        alt.Chart(data([{"zero": 0}]))
        .mark_rule(color=INK, opacity=0.6, strokeDash=[2, 3])
        .encode(y="zero:Q")
    )
    band = base.mark_area(opacity=0.22).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y)
    shape = alt.Shape(
        "line:N",
        title=title,
        scale=alt.Scale(domain=names, range=shapes),
    )
    dots = base.mark_point(filled=True, size=55, opacity=1).encode(y=y, shape=shape)
    # Snapshot counts of the other lines are in the table.
    counts = (
        alt.Chart(data([r for r in _records(points, which) if r["line"] == counted]))
        .mark_text(color=INK, fontSize=10, opacity=0.8)
        .encode(x=alt.X("threshold:Q"), y=alt.value(-8), text=alt.Text("snapshots:Q"))
    )
    return alt.layer(zero, band, line, dots, *([counts] if counted else [])).properties(
        width=PANEL_WIDTH, height=PANEL_HEIGHT, title=alt.TitleParams(_PANELS[which], offset=18)
    )


def _caption(points: list[Point]) -> str:
    first = points[0].line
    own = [point for point in points if point.line == first]
    loose, tight = own[0], own[-1]
    return (
        f"Correlation between the logarithm of flatness and the mean margin on the training set, "
        f"over snapshots with a training error of at most the threshold. For the {first} it goes "
        f"from {with_interval(loose.plain, 2)} at {loose.threshold:g} ({loose.plain.n} snapshots) "
        f"to {with_interval(tight.plain, 2)} at {tight.threshold:g} ({tight.plain.n}). "
        "Right: the correlation with the logarithm of the training loss held fixed, since both "
        "measures follow that loss. Bands: 95 % intervals from a bootstrap over trials within "
        "conditions. Along the top: number of snapshots. The table adds r within conditions, "
        "Spearman’s ρ, and Fisher’s z interval, which assumes independent snapshots."
    )


def _alternative(points: list[Point]) -> str:
    values = "; ".join(
        f"{point.line}, training error at most {point.threshold:g}: "
        f"r {number(point.plain.value, 2)}"
        for point in points
        if point.plain.value is not None
    )
    return (
        "Two line charts over the training-error threshold, loose on the left and tight on the "
        f"right, show the correlation with the mean margin, plain and partial. {values}."
    )


def threshold_table(points: list[Point], title: str) -> Table:
    """Return all correlations with their intervals, one row per line and threshold."""
    columns = (
        title,
        "training error ≤",
        "r",
        "r from",
        "r to",
        "partial r",
        "partial from",
        "partial to",
        "r within conditions",
        "within from",
        "within to",
        "snapshots",
        "trials",
        "left out",
        "Spearman’s ρ",
        "ρ from",
        "ρ to",
        "r from, if independent",
        "r to, if independent",
    )
    rows = [
        (
            point.line,
            point.threshold,
            point.plain.value,
            point.plain.low,
            point.plain.high,
            point.partial.value,
            point.partial.low,
            point.partial.high,
            point.within.value,
            point.within.low,
            point.within.high,
            point.plain.n,
            point.plain.n_groups,
            point.plain.n_excluded,
            point.ranked.value,
            point.ranked.low,
            point.ranked.high,
            point.independent.low,
            point.independent.high,
        )
        for point in points
    ]
    return Table.of(columns, rows)
