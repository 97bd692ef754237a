"""The conditions of a study: their level on every swept axis, and which axes were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.reporting.data.grid_axes import grid_axes
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.results import did_not_learn
from orchestrator.statistics import Design
from orchestrator.statistics.intervals.estimate import BoolArray
from orchestrator.study.design import design_axes
from orchestrator.study.sweep_options import RANDOM

CONDITIONS = Query(
    "conditions",
    "the hyperparameters of every condition",
    """
    SELECT condition_id, min(params_json) AS params_json FROM trials
    GROUP BY condition_id ORDER BY condition_id
    """,
)


@dataclass(frozen=True)
class Conditions:
    """The levels of the conditions of a study.

    Attributes:
        levels: Name of a swept axis → condition → level as text.
        drawn: Names of the axes whose levels were drawn at random.
        unlearned: Completed trials whose networks did not learn.
    """

    levels: Mapping[str, Mapping[str, str]]
    drawn: frozenset[str]
    unlearned: tuple[str, ...] = ()

    def design(self, rows: Rows) -> Design:
        """Return the design that the conditions of the rows follow."""
        names = rows["condition_id"]
        columns = {
            axis: [levels.get(str(name), "") for name in names]
            for axis, levels in self.levels.items()
        }
        return Design.of(columns, rows.groups(), self.drawn)

    def learned(self, rows: Rows) -> BoolArray:
        """Return whether each row's network learned, shape (n,); running trials count as such."""
        unlearned = set(self.unlearned)
        return np.array([str(name) not in unlearned for name in rows["trial_id"]], dtype=np.bool_)


def read_conditions(source: Source) -> Conditions:
    """Read the conditions that have trials."""
    rows = source.rows(CONDITIONS)
    listed, drawn = swept_keys(source.study)
    # Paths drawn together become one axis each, because a claim can be about any of them.
    apart = {"sweep": dict.fromkeys((*listed, *drawn), ())}
    axes = grid_axes(apart, rows["params_json"])
    return Conditions(
        {
            name: dict(zip(map(str, rows["condition_id"]), levels, strict=True))
            for name, levels in axes.items()
        },
        frozenset(axis.title for axis in design_axes(apart)[len(listed) :]),
        did_not_learn(source.connection, source.study),
    )


def swept_keys(study: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys of ``sweep`` with listed values, and those drawn together at random."""
    sweep = study.get("sweep", {})
    random = sweep.get(RANDOM)
    drawn = tuple(random.get("of", {})) if isinstance(random, Mapping) else ()
    return tuple(key for key in sweep if key != RANDOM), drawn
