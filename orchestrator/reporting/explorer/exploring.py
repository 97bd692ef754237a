"""The content of the explorer: rows, columns, design and the views that it starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

ROOM = 900_000
"""Bytes for which the number of snapshots is chosen, before other parts of the page are known."""
_BYTES_PER_VALUE = 9
_MOST_LISTED = 6


@dataclass(frozen=True)
class Explorer:
    """The explorer as a page has room for it.

    Attributes:
        content: What ``explorer.js`` reads, as JSON content: columns, rows, axes, views, the chart.
        query: Query for the rows, with all columns.
        snapshots: Number of snapshots shown.
        columns: Number of columns on offer.
        sampled: A sentence on the sample, or "".
        left_out: A sentence on columns and hyperparameters that did not fit, or "".
    """

    content: dict[str, Any]
    query: Query
    snapshots: int
    columns: int
    sampled: str
    left_out: str


@dataclass(frozen=True)
class Explorable:
    """All that the explorer could show.

    Attributes:
        base: Content that every explorer needs.
        columns: All columns, the most important first.
        axes: The swept axes; ``number`` and perhaps ``level`` of each condition.
        before_axes: Number of columns that are more important than the axes.
        query: Query for the rows.
        sample: The snapshots shown.
    """

    base: Mapping[str, Any]
    columns: Sequence[dict[str, Any]]
    axes: Sequence[dict[str, Any]]
    before_axes: int
    query: Query
    sample: SnapshotSample

    def fit(self, budget: int) -> Explorer:
        """Keep what fits into a number of bytes, in the order of importance.

        Columns before the axes are always kept, since views of claims need them, as are the axes
        of a grid, since every interval needs them. Axes drawn at random
        that do not fit cannot be held fixed; one axis with their combinations replaces them.
        """
        left = budget - size_of(self.base)
        axes = [axis for axis in self.axes if not axis["drawn"]]
        drawn = [axis for axis in self.axes if axis["drawn"]]
        columns, rest = list(self.columns[: self.before_axes]), self.columns[self.before_axes :]
        left -= size_of(axes) + size_of(columns)
        cut = []
        for part, kept in ((drawn, axes), (rest, columns)):
            for one in part:
                size = size_of(one)
                if size <= left:
                    kept.append(one)
                    left -= size
                else:
                    cut.append(str(one["name"]))
        if any(axis not in axes for axis in drawn):
            axes.append(_combined(drawn))
        names = {column["name"] for column in columns}
        views = [view for view in self.base["views"] if _used(view) <= names]
        content = {**self.base, "columns": columns, "axes": axes, "views": views}
        left_out = _cut(list(dict.fromkeys(cut)))
        return Explorer(
            content, self.query, self.sample.shown, len(columns), self.sample.sentence, left_out
        )


def explore(source: Source, room: int = ROOM) -> Explorable | None:
    """Collect what the explorer can show; None without a snapshot.

    Args:
        source: The results.
        room: Bytes of data that a page can have if nothing else is large; see ``ROOM``.
    """
    offered = quantities(source)
    sample = choose_snapshots(source, room // (_BYTES_PER_VALUE * len(offered)))
    if not sample.shown:
        return None
    query = _query(offered, sample)
    rows = source.rows(query)
    groups = rows.groups()
    trials = dict(sorted(zip(groups.trial.tolist(), rows["trial_id"], strict=True)))
    base = {
        "trial": groups.trial.tolist(),
        "condition": groups.condition.tolist(),
        "trials": list(trials.values()),
        "outcome": offered[0].name,
        "kind": offered[2].name,
        "where": sample.where,
        "views": _views(source, offered),
        "chart": explorer_chart(),
    }
    return Explorable(
        base,
        [encoded(one, rows[one.name], groups) for one in offered],
        _axes(read_conditions(source), rows),
        next(place for place, one in enumerate(offered) if one.name == "train_error") + 1,
        query,
        sample,
    )


def _combined(axes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one axis whose levels are the combinations of the levels of several."""
    settings = zip(*(axis.get("level", axis["number"]) for axis in axes), strict=True)
    codes: dict[Any, int] = {}
    level = [codes.setdefault(setting, len(codes)) for setting in settings]
    return {"name": "", "drawn": True, "level": level}


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
        f"Columns and hyperparameters that did not fit into this page: {listed}{more}. Those that "
        "claims name come first, then training loss and error, hyperparameters drawn at random, "
        "other losses, errors and times, other hyperparameters, and other measures by name."
    )
