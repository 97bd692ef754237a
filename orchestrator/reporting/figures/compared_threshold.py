"""Headline figure of several studies, with one line per study."""

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
    """Plot r(log Hessian trace, mean margin) against the training-error threshold by study.

    Args:
        sources: Name of each study → its results.
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
    missing = f" Not shown for lack of snapshots: {', '.join(without)}." if without else ""
    return Figure(
        _KEY,
        _TITLE,
        caption=(
            "Correlation between the logarithm of the Hessian trace and the mean margin on the "
            "training set, over the snapshots of each study with a training error of at most the "
            "threshold. Right: with the logarithm of the training loss held fixed. Bands: 95 % "
            "intervals from a bootstrap over trials within conditions. At the tightest "
            f"threshold: {ends}.{missing}"
        ),
        alternative=(
            "Two line charts over the training-error threshold, with one line per study, show the "
            f"correlation with the mean margin, plain and partial. Plain: {ends}."
        ),
        queries=(query,),
        table=threshold_table(points, "study"),
        chart=threshold_chart(points, "study", colours, None),
    )
