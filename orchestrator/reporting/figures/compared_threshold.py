"""The headline of several studies: one line for each."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import snapshots
from orchestrator.reporting.figures.figure import Figure
from orchestrator.reporting.figures.theme import OKABE_ITO
from orchestrator.reporting.figures.threshold import (
    points_by_threshold,
    threshold_chart,
    threshold_table,
)
from orchestrator.statistics.claim import with_interval

_KEY = "threshold"
_TITLE = "Hessian trace and margin against the training-error threshold, by study"
_MEASURES = ("margin_mean", "hessian_trace")


def compared_threshold_figure(sources: Mapping[str, Source]) -> Figure:
    """How r(log Hessian trace, mean margin) depends on who is looked at, in each study.

    Args:
        sources: What each study is called → its results.
    """
    query = snapshots(_MEASURES)
    lines = {}
    for name, source in sources.items():
        if source.has(*_MEASURES):
            found = list(points_by_threshold(source.rows(query), "hessian_trace", name))
            if found:
                lines[name] = found
    if not lines:
        reason = "No study has enough snapshots with both a margin_mean and a hessian_trace."
        return Figure(_KEY, _TITLE, missing=reason)
    points = [point for line in lines.values() for point in line]
    colours = {name: OKABE_ITO[n % len(OKABE_ITO)] for n, name in enumerate(sources)}
    ends = "; ".join(
        f"{name} {with_interval(line[-1].plain, 2)} at {line[-1].threshold:g} "
        f"({line[-1].plain.n} snapshots)"
        for name, line in lines.items()
    )
    without = [name for name in sources if name not in lines]
    missing = f" Without a line: {', '.join(without)}, for want of snapshots." if without else ""
    return Figure(
        _KEY,
        _TITLE,
        caption=(
            "Correlation between the logarithm of the Hessian trace and the mean margin on the "
            "training set, over the snapshots of each study whose training error is at most the "
            "threshold; right with the logarithm of the training loss held fixed. Bands: 95 % "
            "intervals from a bootstrap over trials within conditions. At the tightest "
            f"threshold: {ends}.{missing}"
        ),
        alternative=(
            "Two line charts over the training-error threshold, one line for each study: "
            f"correlation with the mean margin, plain and partial. Plain: {ends}."
        ),
        queries=(query,),
        table=threshold_table(points, "study"),
        chart=threshold_chart(points, "study", colours, None),
    )
