"""The content of the explorer: rows, columns, design and the views that it starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.data.conditions import Conditions, read_conditions
from orchestrator.reporting.data.open_results import Rows, Source, claims_of
from orchestrator.reporting.data.queries import Query, identifier
from orchestrator.reporting.explorer.explorer_chart import explorer_chart
from orchestrator.reporting.explorer.quantities import Quantity, encoded, quantities, size_of
from orchestrator.reporting.explorer.snapshot_sample import SnapshotSample, choose_snapshots
from orchestrator.statistics.claims.tracking import TRAIN_ERROR_THRESHOLD
from orchestrator.statistics.study_design import Axis
from orchestrator.study.claim_options import BuiltInClaim, StatedClaim

BUDGET = 900_000
"""Bytes of the page for the explorer's data."""
_BYTES_PER_VALUE = 9
_MOST_LISTED = 6


@dataclass(frozen=True)
class Explorer:
    """The explorer of a report.

    Attributes:
        content: What ``explorer.js`` reads, as JSON content: columns, rows, axes, views, the chart.
        query: Query for the rows.
        snapshots: Number of snapshots shown.
        columns: Number of columns on offer.
        sampled: A sentence on the sample, or "".
        left_out: A sentence on columns that did not fit, or "".
    """

    content: dict[str, Any]
    query: Query
    snapshots: int
    columns: int
    sampled: str
    left_out: str


def explore(source: Source, budget: int = BUDGET) -> Explorer | None:
    """Collect the content of the explorer; None without a snapshot.

    Columns are kept in the order of :func:`~.quantities.quantities` until they fill the budget,
    after the levels of all swept axes, which every interval needs.

    Args:
        source: The results.
        budget: Bytes of data to embed.
    """
    offered = quantities(source)
    sample = choose_snapshots(source, budget // (_BYTES_PER_VALUE * len(offered)))
    if not sample.shown:
        return None
    query = _query(offered, sample)
    rows = source.rows(query)
    groups = rows.groups()
    axes = _axes(read_conditions(source), rows)
    kept, cut, spent = [], [], size_of(axes)
    for quantity in offered:
        column = encoded(quantity, rows[quantity.name], groups)
        size = size_of(column)
        if spent + size > budget:
            cut.append(quantity.name)
            continue
        spent += size
        kept.append(column)
    names = {column["name"] for column in kept}
    content = {
        "columns": kept,
        "trial": groups.trial.tolist(),
        "condition": groups.condition.tolist(),
        "trials": list(
            dict(sorted(zip(groups.trial.tolist(), rows["trial_id"], strict=True))).values()
        ),
        "axes": axes,
        "outcome": offered[0].name,
        "kind": offered[2].name,
        "where": sample.where,
        "views": [view for view in _views(source, offered) if _used(view) <= names],
        "chart": explorer_chart(),
    }
    return Explorer(content, query, sample.shown, len(kept), sample.sentence, _cut(cut))


def _query(offered: Sequence[Quantity], sample: SnapshotSample) -> Query:
    columns = ",\n    ".join(f"{one.sql} AS {identifier(one.name)}" for one in offered)
    return Query(
        "explorer",
        "snapshots of the explorer with all its columns",
        f"SELECT trial_id, condition_id,\n    {columns}\nFROM wide\nWHERE {sample.where}\n"
        "ORDER BY trial_id, step",
    )


def _axes(conditions: Conditions, rows: Rows) -> list[dict[str, Any]]:
    """Return the swept axes with each condition's number, and its level unless all are numbers."""
    return [
        {"name": axis.name, "drawn": axis.drawn, **_levels(axis)}
        for axis in conditions.design(rows).axes
    ]


def _levels(axis: Axis) -> dict[str, list[Any]]:
    numbers = [value if math.isfinite(value) else None for value in axis.value.tolist()]
    return {"number": numbers} | ({"level": axis.level.tolist()} if None in numbers else {})


def _views(source: Source, offered: Sequence[Quantity]) -> list[dict[str, Any]]:
    """Return the views of claims whose statistic is the explorer's, and a first view otherwise."""
    final = offered[1].name
    views = []
    for claim in claims_of(source):
        if isinstance(claim, BuiltInClaim) and claim.name == "flatness_tracks_margin":
            views.append(
                {
                    **{"name": claim.name, "x": "hessian_trace", "y": "margin_mean"},
                    **{"xlog": True, "ylog": False, "kinds": True},
                    "filters": [["train_error", "≤", str(TRAIN_ERROR_THRESHOLD)]],
                }
            )
        elif isinstance(claim, StatedClaim) and _is_correlation(claim):
            filters = [[final, "=", "yes"]] if claim.design == "final" else []
            views.append(
                {
                    **{"name": claim.name, "x": claim.x, "y": claim.y, "filters": filters},
                    **{"xlog": claim.x in claim.log, "ylog": claim.y in claim.log},
                    "given": [[name, name in claim.log] for name in claim.given],
                }
            )
    return views


def _is_correlation(claim: StatedClaim) -> bool:
    """Return whether the explorer can show a claim: Pearson's r without SQL of its own."""
    plain = not claim.query and not claim.where and claim.design in {"snapshots", "final"}
    return claim.statistic == "pearson" and plain


def _used(view: dict[str, Any]) -> set[str]:
    given = [name for name, _ in view.get("given", [])]
    return {view["x"], view["y"], *given, *(name for name, _, _ in view["filters"])}


def _cut(names: Sequence[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(names[:_MOST_LISTED])
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (
        f"Columns that did not fit into this page: {listed}{more}. Those that claims name come "
        "first, then losses, errors and time, hyperparameters, and other measures by name."
    )
