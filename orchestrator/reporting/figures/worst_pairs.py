"""How often each measure misorders pairs of conditions, and the worst pair."""

from __future__ import annotations

from collections import Counter
from typing import Any

import altair as alt
import numpy as np

from orchestrator.reporting.data.gap_predictors import GAPS, Predictor, Trained
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.scales import SHARES
from orchestrator.reporting.figures.theme import OKABE_ITO, PANEL_HEIGHT, PANEL_WIDTH, data, themed
from orchestrator.statistics import Grid, SignError, sign_error
from orchestrator.statistics.claim import counted, with_interval
from orchestrator.statistics.grid.sign_error import FEWEST_EFFECTIVE

_MOST_DRAWN = 6
_ALWAYS = ("margin_mean", "hessian_trace")
_POINTS = np.linspace(0, 1, 51)
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
Judged = tuple[Predictor, str, SignError]
TEST_EXAMPLES = Query(
    "test_examples",
    "largest number of test examples that were measured",
    "SELECT max(n_examples) AS examples FROM measures WHERE split = 'test'",
)


@ReportFigure(
    "environments",
    "Robustness: the worst pair of conditions",
    place=70,
    methods=(
        "Sign error",
        "SE = (1 − sign Δμ · sign Δg) / 2 over pairs of networks of two conditions, and ½ for "
        "a tie. For the error gap, a pair has weight (w − ½)₊ with "
        "w = max(0, 1 − 2 exp(−2 n (Δg/2)²))² for n test examples, from Hoeffding’s "
        "inequality. An environment needs a minimum effective size (Σ w)² / Σ w² (Dziugaite "
        "et al., arXiv:2010.11924, sections 4 and 5).",
    ),
)
def environments_figure(source: Source, trained: Trained) -> Drawn:
    """Plot the distribution of sign errors over environments for a few measures and both gaps."""
    queries = (trained.query, TEST_EXAMPLES)
    grid = trained.grid
    directed = [one for one in trained.predictors if one.directed]
    if reason := trained.why_no_single_difference:
        raise Missing(reason, *queries)
    if grid is None or not directed:
        reason = (
            "This figure needs a measure with an expected order, and trained networks that differ "
            "in a hyperparameter."
        )
        raise Missing(reason, *queries)
    (examples,) = source.rows(TEST_EXAMPLES)["examples"] or (None,)
    fewest = _fewest(trained)
    found = [
        (one, gap, _judge(trained, one, gap, grid, examples, fewest))
        for one in directed
        for gap in GAPS
    ]
    if not any(judged.environments for *_, judged in found):
        reason = (
            "No two conditions that differ in one hyperparameter have gaps that the test set can "
            "distinguish."
        )
        raise Missing(reason, *queries)
    drawn = _drawn(found)
    return Drawn(
        caption=_caption(found, examples, fewest),
        alternative=(
            "Two step charts, for the loss gap and the error gap: cumulative share of "
            f"environments by sign error, for {', '.join(drawn)}."
        ),
        queries=queries,
        table=_table(found),
        chart=_chart([one for one in found if one[0].column in drawn], drawn),
    )


def _fewest(trained: Trained) -> float:
    """Return the least effective size: twelve pairs of trials, or all that the seeds allow."""
    seeds = max(Counter(trained.rows["condition_id"]).values(), default=0)
    return float(min(FEWEST_EFFECTIVE, max(1, seeds**2 // 2)))


def _judge(
    trained: Trained, one: Predictor, gap: str, grid: Grid, examples: int | None, fewest: float
) -> SignError:
    values = one.sign * trained.rows.floats(one.column)
    # Hoeffding's inequality needs a mean of values in [0, 1]; the loss is not such a mean.
    known = int(examples) if examples and gap == "error_gap" else None
    return sign_error(values, trained.rows.floats(gap), grid, known, fewest)


def _drawn(found: list[Judged]) -> list[str]:
    """Return mean margin and Hessian trace, then measures with the lowest mean sign errors."""
    mean: dict[str, list[float]] = {}
    for one, _, judged in found:
        if judged.overall.mean.value is not None:
            mean.setdefault(one.column, []).append(judged.overall.mean.value)
    best = sorted(mean, key=lambda column: (np.mean(mean[column]), column))
    always = [column for column in _ALWAYS if column in mean]
    return [*always, *(column for column in best if column not in always)][:_MOST_DRAWN]


def _caption(found: list[Judged], examples: int | None, fewest: float) -> str:
    worst = "; ".join(_worst(judged) for judged in found if judged[0].column in _ALWAYS)
    dropped = {gap: judged.overall.dropped for _, gap, judged in found}
    kept = {gap: judged.overall.environments for _, gap, judged in found}
    counts = " and ".join(
        f"{counted(kept[gap], 'environment')} for the {name} ({dropped[gap]} dropped)"
        for gap, name in GAPS.items()
    )
    weights = (
        f"Pairs whose error gaps could differ by chance on {examples:,} test examples (the "
        "number measured) count less or not at all. "
        if examples
        else ""
    )
    return (
        "An environment is a pair of conditions that differ in one hyperparameter. Its sign error "
        "is the share of pairs of their networks that a measure orders wrongly: 0 is perfect, ½ "
        "is a coin flip (arXiv:2010.11924). For a robust measure the curve rises immediately and "
        f"has no right tail. {weights}Environments with an effective size below {fewest:g} pairs "
        f"are dropped, which leaves {counts}. {worst}."
    )


def _worst(judged: Judged) -> str:
    one, gap, errors = judged
    mean = with_interval(errors.overall.mean, 2)
    text = f"{one.column} and {GAPS[gap]}: mean {mean}"
    if errors.overall.worst is None:
        return text
    worst = errors.overall.worst
    levels = " and ".join(map(str, worst.levels))
    return f"{text}, worst {worst.error:.2f} along {worst.axis} between {levels}"


def _chart(found: list[Judged], drawn: list[str]) -> dict[str, Any]:
    panels = [
        _panel([one for one in found if one[1] == gap and one[2].environments], gap, drawn)
        for gap in GAPS
        if any(one[1] == gap and one[2].environments for one in found)
    ]
    return themed(alt.concat(*panels, columns=2))


def _panel(found: list[Judged], gap: str, drawn: list[str]) -> Any:
    records = [
        {"measure": one.column, "error": float(at), "share": float(share)}
        for one, _, judged in found
        for at, share in zip(_POINTS, judged.cdf(_POINTS + 1e-9), strict=True)
    ]
    return (
        alt.Chart(data(records))
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=SHARES.x("error:Q", "sign error at most"),
            y=SHARES.y("share:Q", "share of environments"),
            color=alt.Color(
                "measure:N",
                title="measure",
                scale=alt.Scale(domain=drawn, range=list(OKABE_ITO[: len(drawn)])),
            ),
            strokeDash=alt.StrokeDash(
                "measure:N",
                title="measure",
                scale=alt.Scale(domain=drawn, range=list(_DASHES[: len(drawn)])),
            ),
            tooltip=[
                alt.Tooltip("measure:N"),
                alt.Tooltip("error:Q", format=".2f"),
                alt.Tooltip("share:Q", format=".2f"),
            ],
        )
        .properties(width=PANEL_WIDTH, height=PANEL_HEIGHT, title=GAPS[gap])
    )


def _table(found: list[Judged]) -> Table:
    heads = (
        *("measure", "gap", "mean sign error", "from", "to", "90 % quantile", "worst"),
        *("worst between", "environments", "dropped", "remark"),
    )
    rows = []
    for one, gap, judged in found:
        overall, worst = judged.overall, judged.overall.worst
        between = "" if worst is None else f"{worst.axis}: {worst.levels[0]} and {worst.levels[1]}"
        mean = overall.mean
        rows.append(
            (
                *(one.column, GAPS[gap], mean.value, mean.low, mean.high, overall.quantile),
                *(None if worst is None else worst.error, between),
                *(overall.environments, overall.dropped, mean.reason),
            )
        )
    return Table.of(heads, rows)
