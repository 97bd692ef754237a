"""Forest plot of how well measures rank trained networks by their gaps, with noise ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from orchestrator.reporting.data.gap_predictors import (
    FEWEST_NETWORKS,
    GAPS,
    Ranking,
    Trained,
    as_tau,
    ceilings,
    rank,
)
from orchestrator.reporting.data.network_queries import MEASURE_COLUMNS
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import CORRELATIONS
from orchestrator.reporting.figures.theme import INK, OKABE_ITO, WIDE, data, themed
from orchestrator.statistics import NoiseCeiling, attenuation
from orchestrator.statistics.claim import counted, joined, with_interval

_ROW_HEIGHT = 22
_LETTER_WIDTH = 6
_LEVEL = 0.05
_RELIABLE = 0.9


@ReportFigure(
    "predictors",
    "How well each measure ranks networks by their gap",
    place=50,
    methods=(
        "Many measures",
        f"p-values are adjusted over all measures and {len(GAPS)} gaps together by Holm’s "
        "method (1979, Scandinavian Journal of Statistics 6) and, in the table, also by that "
        "of Benjamini and Hochberg (1995, Journal of the Royal Statistical Society B 57). The "
        "noise ceiling is |r| ≤ √ICC(1), drawn as τ = (2/π) arcsin r (Greiner 1909). "
        "ICC(1) = (MSB − MSW) / (MSB + (k − 1) MSW) uses the mean squares between conditions "
        "(MSB) and within them (MSW) over k seeds (Shrout and Fleiss 1979, Psychological "
        "Bulletin 86). A measure estimated with standard error SE has reliability "
        "1 − E SE² / var over networks, whose square root limits |r| in the same way "
        "(Spearman 1904, American Journal of Psychology 15).",
    ),
)
def predictors_figure(trained: Trained) -> Drawn:
    """Plot τ of every measure with both gaps, with intervals and the noise ceiling from seeds."""
    queries = (MEASURE_COLUMNS, trained.query)
    if not trained.predictors:
        reason = f"Fewer than {FEWEST_NETWORKS} trained networks have a measure that varies."
        raise Missing(reason, *queries)
    rankings, limits = rank(trained), ceilings(trained)
    if all(one.tau.value is None for one in rankings):
        raise Missing(f"No correlation is defined: {rankings[0].tau.reason}.", *queries)
    order = _order(rankings)
    best = {gap: _best(rankings, gap) for gap in GAPS}
    told = "; ".join(
        f"{one.predictor.column} with the {GAPS[gap]}, {with_interval(one.tau, 2)}"
        for gap, one in best.items()
        if one is not None
    )
    found = sum(one.holm is not None and one.holm < _LEVEL for one in rankings)
    tests = sum(one.holm is not None for one in rankings)
    sentences = [
        f"Kendall’s τ_b over {counted(len(trained.rows), 'trained network')}, with 95 % intervals "
        "from a bootstrap over trials within conditions. A measure of flatness or norm should lie "
        "on the right (larger values, larger gaps), a margin on the left. "
        f"Largest |τ|: {told}.",
        f"After Holm’s adjustment, p is below 0.05 in {found} of {counted(tests, 'test')}.",
        *(_ceiling_sentence(gap, limits[gap]) for gap in GAPS),
        _noisy(trained),
        f"Not shown: {counted(trained.more, 'further measure')}." if trained.more else "",
    ]
    return Drawn(
        caption=joined(sentences),
        alternative=(
            f"Forest plot of {counted(len(order), 'measure')}: rank correlation with the loss gap "
            f"and with the error gap, with intervals. Largest |τ|: {told}."
        ),
        queries=queries,
        table=_table(rankings, order, trained.reliability),
        chart=_chart(rankings, order, limits),
    )


def _noisy(trained: Trained) -> str:
    """Name the measures whose uncertainty attenuates their correlations."""
    shown = {one.column for one in trained.predictors}
    named = [
        f"{column} at most {attenuation(share):.2f}"
        for column, share in trained.reliability.items()
        if column in shown and share < _RELIABLE
    ]
    if not named:
        return ""
    return (
        f"Standard errors of estimates limit their |r| with any other quantity: {', '.join(named)}."
    )


def _order(rankings: list[Ranking]) -> list[str]:
    """Sort measures by the larger of their |τ| with both gaps, in descending order."""
    size: dict[str, float] = {}
    for one in rankings:
        column = one.predictor.column
        size[column] = max(size.get(column, 0.0), abs(one.tau.value or 0.0))
    return sorted(size, key=lambda column: (-size[column], column))


def _best(rankings: list[Ranking], gap: str) -> Ranking | None:
    known = [one for one in rankings if one.gap == gap and one.tau.value is not None]
    return max(known, key=lambda one: abs(one.tau.value or 0.0), default=None)


def _ceiling_sentence(gap: str, limit: NoiseCeiling) -> str:
    if limit.correlation.value is None:
        return f"No noise ceiling for the {GAPS[gap]}: {limit.correlation.reason}."
    share = with_interval(limit.reliability, 2)
    return (
        f"Hyperparameters explain a share of {share} of the variance of the {GAPS[gap]}, seeds the "
        "rest. A function of hyperparameters alone could reach "
        f"τ = {as_tau(limit.correlation.value):.2f} (dashed lines)."
    )


def _chart(
    rankings: list[Ranking], order: list[str], limits: dict[str, NoiseCeiling]
) -> dict[str, Any]:
    records = [
        {
            "measure": one.predictor.column,
            "family": one.predictor.family,
            "gap": GAPS[one.gap],
            "tau": one.tau.value,
            "low": one.tau.low,
            "high": one.tau.high,
            "networks": one.tau.n,
            "holm": one.holm,
        }
        for one in rankings
        if one.tau.value is not None
    ]
    names = list(GAPS.values())
    colour = alt.Color(
        "gap:N",
        title="rank correlation with the",
        scale=alt.Scale(domain=names, range=[OKABE_ITO[3], OKABE_ITO[4]]),
    )
    scale = CORRELATIONS.scale()
    base = alt.Chart(data(records)).encode(
        y=alt.Y(
            "measure:N",
            title=None,
            sort=order,
            scale=alt.Scale(domain=order),
            axis=alt.Axis(ticks=False, grid=True),
        ),
        yOffset=alt.YOffset("gap:N", sort=names),
        color=colour,
        tooltip=[
            alt.Tooltip("measure:N"),
            alt.Tooltip("family:N"),
            alt.Tooltip("gap:N"),
            alt.Tooltip("tau:Q", title="τ_b", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="95 % to", format=".3f"),
            alt.Tooltip("holm:Q", title="p, Holm", format=".2~g"),
            alt.Tooltip("networks:Q"),
        ],
    )
    zero = alt.Chart(data([{"at": 0}])).mark_rule(color=INK, opacity=0.6).encode(x="at:Q")
    reached = [
        {"gap": GAPS[gap], "at": side * as_tau(limit.correlation.value)}
        for gap, limit in limits.items()
        if limit.correlation.value is not None
        for side in (-1, 1)
    ]
    ceiling = (
        alt.Chart(data(reached))
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.5)
        .encode(x=alt.X("at:Q", scale=scale), color=colour)
    )
    spread = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(
        x=CORRELATIONS.x("tau:Q", "Kendall’s τ_b over trained networks"),
        shape=alt.Shape(
            "gap:N",
            title="rank correlation with the",
            scale=alt.Scale(domain=names, range=["circle", "square"]),
        ),
    )
    layers = [zero, *([ceiling] if reached else []), spread, dots]
    chart = alt.layer(*layers).properties(width=WIDE - 300, height=_ROW_HEIGHT * len(order))
    return themed(chart, room=56 + _LETTER_WIDTH * max(map(len, order)))


def _table(rankings: list[Ranking], order: list[str], reliability: Mapping[str, float]) -> Table:
    heads = (
        *("measure", "family", "gap", "τ_b", "from", "to", "p", "p, Holm", "p, FDR"),
        *("networks", "left out", "reliability of the estimate", "remark"),
    )
    rows = [
        (
            *(one.predictor.column, one.predictor.family, GAPS[one.gap]),
            *(one.tau.value, one.tau.low, one.tau.high, one.tau.p_value, one.holm, one.fdr),
            *(one.tau.n, one.tau.n_excluded),
            *(reliability.get(one.predictor.column, 1.0), one.tau.reason),
        )
        for one in sorted(rankings, key=lambda one: order.index(one.predictor.column))
    ]
    return Table.of(heads, rows)
