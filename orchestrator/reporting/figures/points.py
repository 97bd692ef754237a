"""Snapshots as points of a scatter plot, with their tooltips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from orchestrator.reporting.data.hue import Hue, level_text
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query, scatter
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.theme import SHAPES

FLATNESS_AXIS = "hessian_trace"
_ALONG = "along training"
_FINAL = "final"
_MOST_MILESTONES = len(SHAPES) - 2


@dataclass(frozen=True)
class Points:
    """The points of a scatter plot.

    Attributes:
        records: One mapping per point, with JSON values: the columns of the query, ``hue`` and
            ``milestone``.
        milestones: Milestones that occur, in the order of the legend.
        left_out: Number of points that can't be drawn: not finite, or not positive on a log axis.
        n_snapshots: Number of all snapshots; the points may be a sample of them.
        query: Query that returned the points.
    """

    records: list[dict[str, Any]]
    milestones: list[str]
    left_out: int
    n_snapshots: int
    query: Query

    @property
    def sampled(self) -> str:
        """A sentence on the sampling if not all snapshots are drawn, else ""."""
        drawn = len(self.records) + self.left_out
        if self.n_snapshots == drawn:
            return ""
        return (
            f"Shown: {drawn:,} of {self.n_snapshots:,} snapshots, chosen by a hash of their "
            "names; statistics use all of them."
        )

    @property
    def excluded(self) -> str:
        """A sentence on the points that can't be drawn, or ""."""
        if not self.left_out:
            return ""
        count = f"{self.left_out:,} snapshot{'s' * (self.left_out != 1)}"
        return f"Not drawn: {count} with a non-finite value or a non-positive trace."

    def column(self, name: str) -> list[float]:
        """Return the values of one column."""
        return [record[name] for record in self.records]

    def table(self, hue: Hue | None) -> Table:
        """Return the points as a table."""
        heads = {
            "trial_id": "trial",
            "hue": hue.title if hue else None,
            "seed": "seed",
            "step": "updates",
            "epoch": "epochs",
            "milestone": "milestone",
            "train_error": "training error",
            "train_loss": "training loss",
            "margin_mean": "mean margin",
            "hessian_trace": "Hessian trace",
            "loss_gap": "loss gap",
            "error_gap": "error gap",
        }
        shown = {name: head for name, head in heads.items() if head is not None}
        rows = [tuple(record.get(name) for name in shown) for record in self.records]
        return Table.of(tuple(shown.values()), rows)


def collect_points(source: Source, hue: Hue | None, measures: Sequence[str]) -> Points:
    """Query and prepare the points."""
    query = scatter(measures, hue.column if hue else None)
    rows = source.rows(query)
    names = _milestone_names(rows)
    records, left_out = [], 0
    for values in rows.tuples():
        record = dict(zip(rows.columns, values, strict=True))
        needed = [record[name] for name in (*measures, "loss_gap", "error_gap", "train_error")]
        trace = record.get(FLATNESS_AXIS, 1.0)
        if any(value is None or not math.isfinite(value) for value in needed) or trace <= 0:
            left_out += 1
            continue
        records.append(_record(record, hue, names))
    used = {record["milestone"] for record in records}
    order = [_ALONG, *names.values(), _FINAL]
    total = rows["n_snapshots"][0] if len(rows) else 0
    return Points(records, [name for name in order if name in used], left_out, total, query)


def _milestone_names(rows: Rows) -> dict[float, str]:
    """Map each milestone to its name, keeping only the lowest if shapes run out."""
    found = {value for values in rows["milestones"] for value in values or ()}
    return {
        value: f"training loss ≤ {value:g}"
        for value in sorted(found, reverse=True)[-_MOST_MILESTONES:]
    }


def _record(row: dict[str, Any], hue: Hue | None, names: dict[float, str]) -> dict[str, Any]:
    reached = [value for value in row["milestones"] or () if value in names]
    milestone = names[min(reached)] if reached else _ALONG
    record = {
        name: value
        for name, value in row.items()
        if name not in ("milestones", "n_snapshots", "hue")
    }
    record["milestone"] = _FINAL if row["is_final"] else milestone
    if hue is not None:
        record["hue"] = level_text(row["hue"])
    return record


def tooltips(hue: Hue | None, points: Points) -> list[alt.Tooltip]:
    """Return the tooltip fields of a point."""
    fields: list[tuple[str, str, str | None]] = [
        *([("hue:N", hue.title, None)] if hue else []),
        ("seed:Q", "seed", None),
        ("milestone:N", "milestone", None),
        ("step:Q", "updates", ",d"),
        ("epoch:Q", "epochs", ".3~g"),
        ("train_error:Q", "training error", ".3~g"),
        ("train_loss:Q", "training loss", ".3~g"),
        ("margin_mean:Q", "mean margin", ".4~g"),
        ("hessian_trace:Q", "Hessian trace", ".4~g"),
        ("loss_gap:Q", "loss gap", ".3~g"),
        ("error_gap:Q", "error gap", ".3~g"),
        ("trial_id:N", "trial", None),
    ]
    present = points.records[0].keys() if points.records else ()
    return [
        alt.Tooltip(field, title=title, **({"format": form} if form else {}))
        for field, title, form in fields
        if field.partition(":")[0] in present
    ]


def milestone_shape(points: Points) -> Any:
    """Return the shape channel for the field ``milestone``."""
    shapes = list(SHAPES[: len(points.milestones)])
    return alt.Shape(
        "milestone:N",
        title="snapshot",
        scale=alt.Scale(domain=points.milestones, range=shapes),
        sort=points.milestones,
        legend=alt.Legend(symbolFillColor="transparent", symbolStrokeColor="currentColor"),
    )
