"""Heat map of how each measure ranks networks that differ in only one hyperparameter."""

from __future__ import annotations

import itertools
from typing import Any

import altair as alt

from orchestrator.reporting.data.gap_predictors import GAPS, Predictor, Trained
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure
from orchestrator.reporting.figures.theme import INK, data, themed
from orchestrator.statistics import Estimate, Grid, conditional_information, granulated_kendall
from orchestrator.statistics.claim import counted
from orchestrator.statistics.intervals.bootstrap import LEVEL

_OVERALL = "Ψ, mean"
_CELL = 60
_ROW_HEIGHT = 18
_LETTER_WIDTH = 6
_FEWEST_CONDITIONS = 3
_INFORMATION = "K, information"
_PERMUTATIONS = 200
_MOST_CONDITIONS = 64
Cell = tuple[Predictor, str, str, Estimate, int, int]


@ReportFigure(
    "granulated",
    "Ranking along one hyperparameter at a time",
    place=60,
    methods=(
        "One hyperparameter at a time",
        "ψ_i is the mean of τ_a over groups of conditions that differ only in hyperparameter "
        "i, and Ψ is the mean of ψ_i over i. K = min_S I(V_μ; V_g | U_S) / H(V_g | U_S), where "
        "V_μ and V_g are the signs of the differences in measure and gap over ordered pairs "
        "without ties. U_S are the levels, in both conditions, of a set S of at most two "
        "hyperparameters (Jiang et al., arXiv:1912.02178, section 2.2).",
    ),
)
def granulated_figure(trained: Trained) -> Drawn:
    """Plot ψ of every measure along every hyperparameter, and Ψ, for both gaps."""
    queries = (trained.query,)
    conditions = len(set(trained.rows["condition_id"]))
    grid = trained.grid
    if reason := trained.why_no_single_difference:
        raise Missing(reason, *queries)
    if grid is None or not trained.predictors or conditions < _FEWEST_CONDITIONS:
        reason = (
            "This figure needs a measure, and trained networks of at least three conditions that "
            "differ in the swept hyperparameters only."
        )
        raise Missing(reason, *queries)
    cells = _cells(trained, grid)
    missing = (
        f" The grid lacks {counted(grid.n_missing, 'combination')} of levels; groups of one "
        "network are excluded."
        if grid.n_missing
        else ""
    )
    return Drawn(
        caption=(
            "Pooled over a grid, a measure can rank networks merely by following one "
            "hyperparameter. Here ψ is the mean of Kendall’s τ_a over groups of conditions that "
            "differ in one hyperparameter only, with seeds averaged. Ψ is the mean of ψ over "
            "hyperparameters (arXiv:1912.02178). Signs are chosen so that +1 is the expected "
            "order: larger margins with smaller gaps, larger values of all other measures with "
            f"larger gaps.{_undirected(trained)}{missing} The table adds K, the conditional mutual "
            "information of the same paper, and its value for shuffled measures. K ignores the "
            "sign, and it is positive even by chance."
        ),
        alternative=(
            f"Heat map of {counted(len(trained.predictors), 'measure')} by "
            f"{', '.join(grid.axes[place] for place in grid.varying)} and their mean, for the "
            "loss gap and for the error gap; the numbers are in the table."
        ),
        queries=queries,
        table=_table([*cells, *_information(trained, grid)]),
        chart=_chart(cells),
    )


def _undirected(trained: Trained) -> str:
    names = [one.column for one in trained.predictors if not one.directed]
    return f" No order is expected of {', '.join(names)}: signs are as measured." if names else ""


def _cells(trained: Trained, grid: Grid) -> list[Cell]:
    cells: list[Cell] = []
    seeds = trained.rows["seed"]
    for one in trained.predictors:
        values = one.sign * trained.rows.floats(one.column)
        for gap in GAPS:
            found = granulated_kendall(values, trained.rows.floats(gap), grid, seeds)
            cells += [
                (one, gap, axis.axis, axis.estimate, axis.groups, axis.single)
                for axis in found.axes
            ]
            groups = sum(axis.groups for axis in found.axes)
            single = sum(axis.single for axis in found.axes)
            cells.append((one, gap, _OVERALL, found.overall, groups, single))
    return cells


def _information(trained: Trained, grid: Grid) -> list[Cell]:
    """Return K of every measure, with its distribution under shuffling as the remark."""
    if len(grid.conditions) > _MOST_CONDITIONS:  # The cost is quadratic in the conditions.
        return []
    cells: list[Cell] = []
    for one, gap in itertools.product(trained.predictors, GAPS):
        values, target = trained.rows.floats(one.column), trained.rows.floats(gap)
        found = conditional_information(values, target, grid, permutations=_PERMUTATIONS)
        remark = found.reason
        if found.null is not None:
            remark = (
                f"shuffled: mean {found.null.mean:.2f}, 95 % below {found.null.quantile:.2f}; "
                f"p = {found.null.p_value:.2g}"
            )
        estimate = Estimate(found.value, None, None, LEVEL, found.n, 0, found.n_excluded, remark)
        cells.append((one, gap, _INFORMATION, estimate, found.n_pairs, 0))
    return cells


def _chart(cells: list[Cell]) -> dict[str, Any]:
    axes = list(dict.fromkeys(cell[2] for cell in cells if cell[2] != _OVERALL))
    columns = [*axes, _OVERALL] if len(axes) > 1 else axes
    records = [
        {
            "measure": one.column,
            "gap": GAPS[gap],
            "axis": axis,
            "along": f"{GAPS[gap]}: {axis}",
            "psi": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "groups": groups,
        }
        for one, gap, axis, estimate, groups, _ in cells
        if axis in columns and estimate.value is not None
    ]
    strength: dict[str, float] = {}
    for one, _, axis, estimate, _, _ in cells:
        if axis in columns and estimate.value is not None:
            strength[one.column] = max(strength.get(one.column, 0.0), abs(estimate.value))
    order = sorted(strength, key=lambda name: (-strength[name], name))
    along = [f"{gap}: {axis}" for gap in GAPS.values() for axis in columns]
    base = alt.Chart(data(records)).encode(
        x=alt.X(
            "along:N",
            title=None,
            sort=along,
            scale=alt.Scale(domain=along),
            axis=alt.Axis(labelAngle=-35, grid=False, ticks=False, labelOverlap=False),
        ),
        y=alt.Y(
            "measure:N",
            title=None,
            sort=order,
            scale=alt.Scale(domain=order),
            axis=alt.Axis(ticks=False, grid=False),
        ),
        tooltip=[
            alt.Tooltip("measure:N"),
            alt.Tooltip("gap:N"),
            alt.Tooltip("axis:N", title="along"),
            alt.Tooltip("psi:Q", title="ψ", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="95 % to", format=".3f"),
            alt.Tooltip("groups:Q"),
        ],
    )
    tiles = base.mark_rect(stroke=INK, strokeOpacity=0.15).encode(
        color=alt.Color(
            "psi:Q",
            title="ψ",
            # Orange to blue is safe for colour-blind readers.
            scale=alt.Scale(domain=[-1, 0, 1], range=["#D55E00", "#F2F2F2", "#0072B2"]),
            legend=alt.Legend(gradientLength=160),
        )
    )
    blue = alt.when("datum.psi > 0.8").then(alt.value("#FFFFFF"))
    text = base.mark_text(fontSize=10).encode(
        text=alt.Text("psi:Q", format=".2f"), color=blue.otherwise(alt.value("#111111"))
    )
    chart = alt.layer(tiles, text).properties(
        width=_CELL * len(along), height=_ROW_HEIGHT * len(order)
    )
    return themed(chart, room=56 + _LETTER_WIDTH * max(map(len, order), default=0))


def _table(cells: list[Cell]) -> Table:
    heads = (
        *("measure", "gap", "along", "ψ, Ψ or K", "from", "to"),
        *("groups (pairs for K)", "groups of one", "remark"),
    )
    rows = [
        (one.column, GAPS[gap], axis, e.value, e.low, e.high, groups, single, e.reason)
        for one, gap, axis, e, groups, single in cells
    ]
    return Table.of(heads, rows)
