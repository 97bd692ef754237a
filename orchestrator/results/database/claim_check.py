"""Checks of a study's claims before any run: their columns and their SQL.

The result views are created over empty tables, and each claim's query is prepared on them.
"""

# ruff: noqa: S608 - names are quoted; conditions and queries are the user's, and only prepared.

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from orchestrator.errors import Problem, QueryError
from orchestrator.results.database.connection import connect_to_nothing
from orchestrator.results.database.read_only_sql import check_only_reads
from orchestrator.results.database.table_views import identifier
from orchestrator.results.table_schemas import swept_columns as column_types
from orchestrator.study.claim_options import CLAIM_NEEDS, BuiltInClaim, StatedClaim
from orchestrator.study.columns import swept_columns
from orchestrator.study.measure_options import CustomMeasure
from orchestrator.study.measured_columns import VALUES_OF, measures_filling, usual_columns
from orchestrator.study.problems import Source, did_you_mean
from orchestrator.study.spec import Study
from orchestrator.study.sweep import grid
from orchestrator.study.trials import cell

_MISSING = re.compile(r'Referenced column "((?:[^"]|"")*)" not found')
_NO_COLUMN = re.compile(r'does not have a column named "((?:[^"]|"")*)"')
_OF_MEASURES = re.compile(r"[a-z_][a-z0-9_]*")
_Measured = tuple[str, str, list[str]]  # Field, column, and the measures that fill it.
_IDENTITY = ("trial_id", "condition_id")


def claim_problems(source: Source, study: Study) -> tuple[list[Problem], list[Problem]]:
    """Return the problems with the claims of a study.

    A column that only a custom measure can provide counts as existing, because the user's code is
    not imported. Whether a variant exists is also unknown.

    Args:
        source: The study file.
        study: The study in ``source``.

    Returns:
        Problems that no run can fix, and warnings that a quantity in a claim is not requested,
        but can be measured later.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    found: list[_Measured]
    swept = _swept(study)
    for number, claim in enumerate(study.claims):
        if isinstance(claim, BuiltInClaim):
            needed = [measures_filling(column) for column in CLAIM_NEEDS[claim.name].columns]
            found = [("name", measures[0], measures) for measures in needed]
        else:
            checked = _Checked(source, study, swept, number, claim)
            problems += checked.problems
            warnings += checked.warnings
            found = checked.measured
        for field, what, measures in found:
            if not {options.name for options in study.all_measures} & set(measures):
                warnings.append(
                    source.problem(
                        _keys(source, number, field),
                        f"claim {claim.name}: {what} is not measured in this study",
                        f"add {measures[0]} to measures; it can also be measured later",
                        code="not-measured",
                    )
                )
    return problems, warnings


def _keys(source: Source, number: int, field: str) -> list[Any]:
    """Return a field's place in ``{name: …, x: …}``, ``{my_claim: {x: …}}``, or a bare name."""
    node = source.tree["claims"][number]
    inner = [] if not isinstance(node, Mapping) or "name" in node else list(node)[:1]
    return ["claims", number, *inner, field]


class _Checked:
    """One stated claim, after its check.

    Attributes:
        problems: Problems with the claim.
        warnings: Warnings about columns that only a custom measure can provide.
        measured: Field, column and the measures that fill it, for each column of a measure.
    """

    def __init__(
        self,
        source: Source,
        study: Study,
        swept: Mapping[str, type],
        number: int,
        claim: StatedClaim,
    ) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.measured: list[_Measured] = []
        self._source, self._study, self._swept, self._number = source, study, swept, number
        self._own = any(isinstance(options, CustomMeasure) for options in study.all_measures)
        self._columns: list[str] = []
        if claim.query:
            sql = claim.query.strip().rstrip(";")
            names = self._prepare("query", sql)
            for field, column in _named(claim):
                if names is not None and column not in names:
                    self._unknown(field, column, names, "the query has no column")
            for column in _IDENTITY if names is not None else ():
                if column not in (names or ()):
                    self._unknown("query", column, (), "the query has no column")
            return
        for field, column in _named(claim):
            self._prepare(field, f"SELECT {identifier(column)} FROM wide")
        if claim.where:
            self._prepare("where", f"SELECT 1 FROM wide WHERE step > 0 AND ({claim.where})")

    def _prepare(self, field: str, sql: str) -> list[str] | None:
        """Return the columns of the result of ``sql``; None if it cannot be run."""
        while True:
            with connect_to_nothing(self._swept, self._columns) as database:
                try:
                    check_only_reads(database, sql)
                    rows = database.execute(f"DESCRIBE {sql}").fetchall()
                    return [row[0] for row in rows]
                except QueryError as error:
                    self._refuse(field, error.message, error.hint)
                    return None
                except duckdb.Error as error:
                    text = str(error)
                    missing = _MISSING.search(text) or _NO_COLUMN.search(text)
                    column = missing[1].replace('""', '"') if missing else ""
                    if not missing:
                        self._refuse(field, text.partition("\n\n")[0].strip(), None)
                        return None
                    known = [row[0] for row in database.execute("DESCRIBE wide").fetchall()]
                    if column.lower() in self._columns or not self._is_measured(
                        field, column, known
                    ):
                        self._unknown(field, column, known, "no column named")
                        return None
            self._columns.append(column.lower())

    def _is_measured(self, field: str, column: str, known: Sequence[str]) -> bool:
        """Whether ``column`` can come from a measure; if so, record it."""
        measures = measures_filling(column)
        if measures:
            self.measured.append((field, column, measures))
            return True
        if not self._own or not _OF_MEASURES.fullmatch(column.lower()):
            return False
        what = f"the column {column!r} exists only if a custom measure provides it"
        keys = _keys(self._source, self._number, field)
        hint = self._similar(column, known)
        self.warnings.append(self._source.problem(keys, what, hint, code="not-measured"))
        return True

    def _unknown(self, field: str, column: str, known: Sequence[str], what: str) -> None:
        hint = self._similar(column, known) or "list the columns: `query RESULTS 'DESCRIBE wide'`"
        self._refuse(field, f"{what} {column!r}", hint, code="unknown-column", within=column)

    def _similar(self, column: str, known: Sequence[str]) -> str | None:
        asked = (options.name for options in self._study.all_measures)
        return did_you_mean(column.lower(), [*known, *usual_columns([*asked, *VALUES_OF])])

    def _refuse(
        self,
        field: str,
        what: str,
        hint: str | None,
        *,
        code: str = "sql",
        within: str | None = None,
    ) -> None:
        keys = _keys(self._source, self._number, field)
        self.problems.append(self._source.problem(keys, what, hint, code=code, within=within))


def _named(claim: StatedClaim) -> Iterable[tuple[str, str]]:
    yield "x", claim.x
    if claim.y:
        yield "y", claim.y
    for column in claim.given:
        yield "given", column


def _swept(study: Study) -> dict[str, type]:
    """Return the study's own columns of ``trials``, typed from their values."""
    columns = swept_columns(study.sweep.paths)
    return column_types(
        {columns[path]: cell(value) for path, value in point.items() if path in columns}
        for point in grid(study)
    )
