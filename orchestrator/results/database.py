"""DuckDB over a results folder: tables, views and macros, always up to date."""

# ruff: noqa: S608 - all names in the SQL are this package's own; paths are quoted.

from __future__ import annotations

import re
import tempfile
import uuid
from importlib import resources
from pathlib import Path
from string import Template

import duckdb

from orchestrator.results.folder import ResultsFolder
from orchestrator.results.schema import MEASURED, TABLES
from orchestrator.results.tables import TableViews, table_views
from orchestrator.results.wide import (
    columns_of_several,
    columns_view,
    select_list,
    wide_aggregates,
    wide_columns,
)

# Of the trial, not of the checkpoint: the checkpoint's own count stays.
_NOT_IN_GAP = ("trial_id", "examples_seen", "written_at")
MEASURE_COLUMN_VIEWS = ("by_condition", "wide")
_GAPS = ("loss_gap", "error_gap")


def connect(
    path: str | Path | ResultsFolder, *, measure_columns: bool = True
) -> duckdb.DuckDBPyConnection:
    """Open results as an in-memory DuckDB database; nothing in the folder is ever changed.

    Views: the tables ``trials``, ``epochs``, ``checkpoints``, ``measures``, ``curves``,
    ``examples``, ``measure_catalog``, ``audit``, ``connectivity``, each fact once; ``gap``,
    ``final``, ``wide``, ``by_condition``, ``milestones``, ``fragility``, ``curve_points``.
    Macros: ``kendall(list(x), list(y))``, ``spearman(list(x), list(y))``.
    Times are in UTC. New rows are seen by every query; new columns, the measures that became
    columns of ``wide``, and what was compacted since need a new connection.

    ``connect(path).sql("…")`` gives a relation with ``.df()``, ``.pl()``, ``.to_arrow_table()``.

    Args:
        path: The results folder.
        measure_columns: Whether to look at all measures for the columns of ``wide``; without,
            ``wide`` and ``by_condition`` are not there and connecting is quicker.

    Returns:
        The connection; close it, or use it in a ``with`` statement.

    Raises:
        ResultsError: If ``path`` holds no results, or newer ones.
    """
    folder = path if isinstance(path, ResultsFolder) else ResultsFolder.open(path)
    spill = Path(tempfile.gettempdir()) / f"duckdb-{uuid.uuid4().hex[:12]}"
    connection = duckdb.connect(
        ":memory:",
        config={
            # Fail at once rather than try to reach a server.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": str(spill),
        },
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        _create_views(connection, folder, measure_columns)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_views(
    connection: duckdb.DuckDBPyConnection, folder: ResultsFolder, measure_columns: bool
) -> None:
    tables = {table: table_views(folder, table) for table in TABLES}
    connection.execute("CREATE SCHEMA parts")
    for table in tables.values():
        for source, sql in table.empty.items():
            connection.execute(f"CREATE VIEW {source} AS {sql}")
        for statement in table.views:
            connection.execute(statement)
    _create_further_views(connection, tables["measures"] if measure_columns else None)
    for table in tables.values():
        for source, sql in table.sources.items():
            connection.execute(f"CREATE OR REPLACE VIEW {source} AS {sql}")


def _create_further_views(
    connection: duckdb.DuckDBPyConnection, measures: TableViews | None
) -> None:
    checkpoints = _columns(connection, "checkpoints")
    trials = [name for name in _columns(connection, "trials") if name not in _NOT_IN_GAP]
    taken = {*checkpoints, *_GAPS}
    shown = {name: f"trial_{name}" if name in taken else name for name in trials}
    substitutes = {
        "trial_columns": ", ".join(f'trials."{name}" AS "{s}"' for name, s in shown.items())
    }
    statements = _statements()
    if measures is None:
        needs_columns = re.compile(r"parts\.wide_columns|parts\.measured")
        statements = [sql for sql in statements if not needs_columns.search(sql)]
    else:
        stored = _stored_measures(connection, measures)
        columns = wide_columns({key[:3] for key in stored}, {*taken, *shown.values()})
        aggregates = wide_aggregates(columns, columns_of_several(columns, stored))
        connection.execute(columns_view(columns))
        substitutes["wide_columns"] = select_list(list(aggregates))
        substitutes["wide_aggregates"] = select_list(
            [f"{aggregate} AS {name}" for name, aggregate in aggregates.items()]
        )
    for statement in statements:
        connection.execute(Template(statement).substitute(substitutes))


def _stored_measures(
    connection: duckdb.DuckDBPyConnection, measures: TableViews
) -> list[tuple[str, str, str | None, str]]:
    # Straight from the files: whether a value is repeated does not matter here.
    rows = " UNION ALL ".join(
        f"({sql})" for sql in measures.sources.values() if not sql.startswith("FROM")
    )
    return connection.execute(
        f"SELECT DISTINCT measure, variant, split, request FROM ({rows}) WHERE {MEASURED}"
    ).fetchall()


def _columns(connection: duckdb.DuckDBPyConnection, view: str) -> list[str]:
    return [row[0] for row in connection.execute(f"DESCRIBE {view}").fetchall()]


def _statements() -> list[str]:
    text = resources.files(__package__).joinpath("views.sql").read_text(encoding="utf-8")
    code = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [statement for statement in code.split(";") if statement.strip()]
