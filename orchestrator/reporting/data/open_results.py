"""Inputs of a report: the tables, the study and its provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from orchestrator.reporting.data.queries import Query, columns_of
from orchestrator.results import (
    LeftOut,
    Location,
    ResultsFolder,
    connect,
    described_study,
    read_runs,
    trial_columns,
    trials_left_out,
)
from orchestrator.statistics.association.order import row_order
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray
from orchestrator.study.claim_options import BuiltInClaim, ClaimRequest, StatedClaim

_MOST_KEPT = 100_000


@dataclass(frozen=True)
class Rows:
    """The result of a query, by column.

    Attributes:
        columns: Name → values; all columns have the same length.
    """

    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, column: str) -> Sequence[Any]:
        return self.columns[column]

    def floats(self, column: str) -> FloatArray:
        """Return a column as float64 of shape (n,); NaN for NULL and for missing columns."""
        if column not in self.columns:
            return np.full(len(self), np.nan)
        values = self.columns[column]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def groups(self) -> Groups:
        """Return which rows are independent, from ``trial_id`` and ``condition_id``."""
        return Groups.of(self["trial_id"], self["condition_id"])

    def select(self, rows: npt.NDArray[np.bool_]) -> Rows:
        """Return only the selected rows."""
        kept = np.flatnonzero(rows).tolist()
        return Rows({name: [values[row] for row in kept] for name, values in self.columns.items()})

    def in_order(self) -> Rows:
        """Return the rows sorted by trial, then step, then all other columns.

        A query from outside may not define an order, and the last digits of floating-point sums
        depend on it.
        """
        first = [name for name in ("trial_id", "step") if name in self.columns]
        names = [*first, *(name for name in self.columns if name not in first)]
        keys = [[_sort_key(value) for value in self.columns[name]] for name in names]
        order = row_order(*keys)
        return Rows({name: [values[row] for row in order] for name, values in self.columns.items()})

    def tuples(self) -> list[tuple[Any, ...]]:
        """Return the rows as tuples."""
        return list(zip(*self.columns.values(), strict=True))


def _sort_key(value: Any) -> tuple[int, float, str]:
    """Return a key that sorts numbers by size, then NaN, then everything else by its text."""
    if isinstance(value, int | float):
        return (1, 0.0, "") if isnan(value) else (0, float(value), "")
    return (2, 0.0, repr(value))


@dataclass(frozen=True)
class Source:
    """An open results folder.

    Attributes:
        folder: The results folder.
        connection: DuckDB connection to its tables.
        study: The resolved study, as parsed from JSON.
        runs: Runs that produced the results, oldest first, as in ``provenance.json``.
        columns: Columns of the view ``wide``.
        trial_columns: Column of ``trials`` → its name in ``wide``.
        left_out: Stored trials that are no longer in the study's grid; no query sees them.
        asked: All queries run so far, for the report's list.
        kept: SQL of a query → its rows, unless they are many.
    """

    folder: ResultsFolder
    connection: Any
    study: Mapping[str, Any]
    runs: Sequence[Mapping[str, Any]]
    columns: frozenset[str]
    trial_columns: Mapping[str, str]
    left_out: LeftOut = field(default_factory=LeftOut)
    asked: list[Query] = field(default_factory=list)
    kept: dict[str, Rows] = field(default_factory=dict)

    def rows(self, query: Query) -> Rows:
        """Run a query, unless its rows are kept, and record it in ``asked``."""
        if query not in self.asked:
            self.asked.append(query)
        if query.sql in self.kept:
            return self.kept[query.sql]
        # A relation (``connection.sql``) would plan the query twice.
        answer = self.connection.execute(query.sql)
        names = [column[0] for column in answer.description]
        fetched = answer.fetchall()
        values = list(zip(*fetched, strict=True)) if fetched else [() for _ in names]
        found = Rows(dict(zip(names, values, strict=True)))
        if len(fetched) * len(names) <= _MOST_KEPT:
            self.kept[query.sql] = found
        return found

    def has(self, *columns: str) -> bool:
        """Return whether ``wide`` has all these columns, so whether they were ever measured."""
        return self.columns.issuperset(columns)


_CLAIMS: TypeAdapter[tuple[BuiltInClaim | StatedClaim, ...]] = TypeAdapter(tuple[ClaimRequest, ...])


def claims_of(source: Source) -> tuple[BuiltInClaim | StatedClaim, ...]:
    """Return the claims of the study; earlier versions stored only their names."""
    return parse_claims(source.study.get("claims", []))


def parse_claims(stored: Sequence[Any]) -> tuple[BuiltInClaim | StatedClaim, ...]:
    """Parse claims from their JSON."""
    return _CLAIMS.validate_python(stored)


@contextmanager
def open_source(results: str | Location, *, everything: bool = False) -> Iterator[Source]:
    """Open a results folder for reading; the end of the ``with`` statement closes it.

    Args:
        results: The results folder.
        everything: Also read stored trials that are no longer in the study's grid.

    Raises:
        ResultsError: If the path has no results, or they are damaged.
    """
    folder = ResultsFolder.open(results)
    study = described_study(folder)
    recorded = read_runs(folder.provenance)
    left_out = LeftOut()
    if not everything:
        with connect(folder, measure_columns=False) as stored:
            left_out = trials_left_out(folder, stored)
    connection = connect(folder, without=left_out.trial_ids)
    try:
        described = connection.sql(columns_of("wide").sql).fetchall()
        columns = frozenset(row[0] for row in described)
        called = trial_columns(connection)
        yield Source(folder, connection, study, recorded["runs"], columns, called, left_out)
    finally:
        connection.close()
