"""DuckDB over a results folder: up-to-date tables, views and macros."""

# ruff: noqa: S608 - all names in the SQL are this package's own; paths are quoted.

from __future__ import annotations

import logging
import re
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import resources
from pathlib import Path
from string import Template
from typing import ParamSpec, TypeVar

import duckdb

from orchestrator.errors import FilesGoneError
from orchestrator.results.database.several_folders import (
    DIFFERENCES,
    Results,
    database_of,
    open_folders,
    study_labels,
    union_view,
)
from orchestrator.results.database.table_views import (
    TableViews,
    identifier,
    table_views,
    views_of_nothing,
)
from orchestrator.results.database.wide import (
    columns_of_several,
    columns_view,
    select_list,
    wide_aggregates,
    wide_columns,
)
from orchestrator.results.folder.parts import RUN_AGAIN, Part, whole_parts
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.store.store_path import StorePath
from orchestrator.results.table_schemas import MEASURED, TABLES, table_schema
from orchestrator.study.columns import beside

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

# Columns of trials that gap leaves out; the checkpoint's own count stays.
_NOT_IN_GAP = ("trial_id", "examples_seen", "written_at")
MOST_REPETITIONS = 2
LOCKED_DOWN = (
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
"""Settings after which outside SQL reads only tables, and files in previously allowed folders."""
MEASURE_COLUMN_VIEWS = ("by_condition", "wide")
_GAPS = ("loss_gap", "error_gap")
# Properties of single trials, not of their condition.
_NOT_IN_CONDITION = (
    *("trial_id", "condition_id", "seed", "status", "stop_reason", "error", "attempt"),
    *("epochs", "updates", "examples_seen", "train_seconds", "evaluation_seconds"),
    *("params_json", "host", "device", "python_version", "torch_version"),
    *("orchestrator_version", "written_at"),
)
_OF_BY_CONDITION = ("condition_id", "quantity", "n", "n_excluded", "mean", "sd", "low", "high")


def connect(
    path: Results, *, measure_columns: bool = True, without: Collection[str] = ()
) -> duckdb.DuckDBPyConnection:
    """Open results as an in-memory DuckDB database; the folder is never changed.

    Views: the tables ``trials``, ``epochs``, ``checkpoints``, ``measures``, ``curves``,
    ``examples``, ``example_subsets``, ``measure_catalog``, ``audit``, ``connectivity``, each fact
    once; ``gap``, ``final``, ``wide``, ``by_condition``, ``milestones``, ``fragility``,
    ``curve_points``.
    Macros: ``kendall(list(x), list(y))``, ``spearman(list(x), list(y))``.
    Times are in UTC. A connection reads only the parts that are in the folder when it is opened,
    after comparing each with its checksum. Rows written later need a new connection. After a
    compaction, every query needs a new connection, because the merged parts are gone.

    With several folders, every table and view has the rows of all folders and a first column
    ``study``: the study's name, followed by the folder where names are equal. Columns that a study
    lacks are NULL. ``differing_hyperparameters`` shows the hyperparameters in which the studies
    differ. Joins must also match ``study``, because trials of different studies may have equal
    ids. ``study_1.wide``, ``study_2.wide`` … are the views of each folder alone.

    ``connect(path).sql("…")`` returns a relation with ``.df()``, ``.pl()``, ``.to_arrow_table()``.

    The connection can do anything DuckDB can; run untrusted SQL with :func:`query`.

    Args:
        path: The results folder or its address, or a list of several.
        measure_columns: Whether to scan all measures for the columns of ``wide``. Connecting
            without the scan is faster, but ``wide`` and ``by_condition`` do not exist.
        without: Ids of trials to leave out; for a single folder only.

    Returns:
        The connection; close it, or use it in a ``with`` statement.

    Raises:
        ResultsError: If ``path`` contains no results, newer results or damaged parts.
    """
    several = not isinstance(path, str | Path | StorePath | ResultsFolder)
    folders = open_folders(path)
    for folder in folders:
        folder.refresh()
    parts = [whole_parts(folder) for folder in folders]
    with _closed_on_error(_new_connection()) as connection:
        if several:
            _connect_several(connection, folders, parts, measure_columns)
        else:
            tables = _create_views(connection, folders[0], parts[0], measure_columns, without)
            _read_files(connection, tables)
    return connection


def connect_to_parts(
    folder: ResultsFolder, parts: Mapping[str, Sequence[Part]]
) -> duckdb.DuckDBPyConnection:
    """Open a database like :func:`connect`, over some parts and without columns of measures."""
    with _closed_on_error(_new_connection()) as connection:
        _read_files(connection, _create_views(connection, folder, parts, measure_columns=False))
    return connection


def connect_to_nothing(
    swept: Mapping[str, type], measures: Iterable[str]
) -> duckdb.DuckDBPyConnection:
    """Open a database like :func:`connect`, over empty tables and without access to files.

    Args:
        swept: The study's own columns of ``trials``.
        measures: Columns of measures that ``wide`` should have.
    """
    with _closed_on_error(_new_connection()) as connection:
        connection.execute("CREATE SCHEMA parts")
        for table in TABLES:
            _create_table_views(connection, views_of_nothing(table, table_schema(table, swept)))
        _create_further_views(connection, [(name, "", None, "") for name in measures])
        for setting in LOCKED_DOWN:
            connection.execute(setting)
    return connection


def _new_connection() -> duckdb.DuckDBPyConnection:
    spill = Path(tempfile.gettempdir()) / f"duckdb-{uuid.uuid4().hex[:12]}"
    connection = duckdb.connect(
        ":memory:",
        config={
            # Fail immediately rather than contact a server.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": str(spill),
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@contextmanager
def _closed_on_error(
    connection: duckdb.DuckDBPyConnection,
) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def again_if_compacted(read: Callable[P, T]) -> Callable[P, T]:
    """Rerun a table-reading function if the tables were compacted while it ran.

    A large run merges its parts from time to time, and connections opened before then miss the
    merged files. The function must open its own connection on each call and write nothing.

    Raises:
        FilesGoneError: From the function, if this happens repeatedly.
    """

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(MOST_REPETITIONS):
            try:
                return read(*args, **kwargs)
            except (duckdb.IOException, FilesGoneError) as error:
                logger.info("reading again, because files are gone: %s", error)
        try:
            return read(*args, **kwargs)
        except duckdb.IOException as error:
            raise FilesGoneError(str(error), RUN_AGAIN) from error

    return reading


def _create_views(
    connection: duckdb.DuckDBPyConnection,
    folder: ResultsFolder,
    parts: Mapping[str, Sequence[Part]],
    measure_columns: bool,
    without: Collection[str] = (),
) -> Iterable[TableViews]:
    """Create every view on tables without rows; :func:`_read_files` adds the rows."""
    tables = {
        table: table_views(folder, table, parts[table], without=bool(without)) for table in TABLES
    }
    connection.execute("CREATE SCHEMA parts")
    if without:
        connection.execute(
            "CREATE TABLE parts.left_out AS SELECT unnest(?::VARCHAR[]) AS trial_id",
            [sorted(without)],
        )
    for table in tables.values():
        _create_table_views(connection, table)
    stored = _stored_measures(connection, tables["measures"]) if measure_columns else None
    _create_further_views(connection, stored)
    return tables.values()


def _create_table_views(connection: duckdb.DuckDBPyConnection, table: TableViews) -> None:
    for source, sql in table.empty.items():
        connection.execute(f"CREATE VIEW {source} AS {sql}")
    for statement in table.views:
        connection.execute(statement)


def _read_files(connection: duckdb.DuckDBPyConnection, tables: Iterable[TableViews]) -> None:
    for table in tables:
        for source, sql in table.sources.items():
            connection.execute(f"CREATE OR REPLACE VIEW {source} AS {sql}")


def _connect_several(
    connection: duckdb.DuckDBPyConnection,
    folders: Sequence[ResultsFolder],
    parts: Sequence[Mapping[str, Sequence[Part]]],
    measure_columns: bool,
) -> None:
    tables = {}
    for number, (folder, of_folder) in enumerate(zip(folders, parts, strict=True), start=1):
        database = database_of(number)
        connection.execute(f"ATTACH ':memory:' AS {database}")
        connection.execute(f"USE {database}")
        tables[database] = _create_views(connection, folder, of_folder, measure_columns)
    views = connection.execute(
        f"""
        SELECT view_name FROM duckdb_views()
        WHERE NOT internal AND schema_name = 'main' AND database_name = '{database_of(1)}'
        ORDER BY view_name
        """
    ).fetchall()
    labels = study_labels(folders)
    with_study = {view: "study" in _columns(connection, view) for (view,) in views}
    connection.execute("USE memory")
    connection.execute("CREATE SCHEMA parts")
    for statement in _statements():
        if statement.lstrip().startswith("CREATE MACRO"):
            connection.execute(statement)
    for view, has_study in with_study.items():
        connection.execute(union_view(view, labels, with_study=has_study))
    connection.execute(DIFFERENCES)
    for database, sources in tables.items():
        connection.execute(f"USE {database}")
        _read_files(connection, sources)
    connection.execute("USE memory")


def _create_further_views(
    connection: duckdb.DuckDBPyConnection,
    stored: Collection[tuple[str, str, str | None, str]] | None,
) -> None:
    shown = trial_columns(connection)
    taken = {*_columns(connection, "checkpoints"), *_GAPS}
    conditions = beside(
        [name for name in _columns(connection, "trials") if name not in _NOT_IN_CONDITION],
        _OF_BY_CONDITION,
    )
    substitutes = {
        "trial_columns": ", ".join(
            f"trials.{identifier(name)} AS {identifier(called)}" for name, called in shown.items()
        ),
        "condition_aggregates": select_list(
            [
                f"any_value(trials.{identifier(name)}) AS {identifier(called)}"
                for name, called in conditions.items()
            ]
        ),
    }
    statements = _statements()
    if stored is None:
        needs_columns = re.compile(r"parts\.wide_columns|parts\.measured")
        statements = [sql for sql in statements if not needs_columns.search(sql)]
    else:
        columns = wide_columns({key[:3] for key in stored}, {*taken, *shown.values()})
        aggregates = wide_aggregates(columns, columns_of_several(columns, stored))
        connection.execute(columns_view(columns))
        substitutes["wide_columns"] = select_list(
            [f"of_measures.{identifier(name)}" for name in aggregates]
        )
        substitutes["wide_aggregates"] = select_list(
            [f"{aggregate} AS {identifier(name)}" for name, aggregate in aggregates.items()]
        )
    for statement in statements:
        connection.execute(Template(statement).substitute(substitutes))


def trial_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return column of ``trials`` → its name in ``gap``, ``final`` and ``wide``."""
    columns = [name for name in _columns(connection, "trials") if name not in _NOT_IN_GAP]
    return beside(columns, {*_columns(connection, "checkpoints"), *_GAPS})


def _stored_measures(
    connection: duckdb.DuckDBPyConnection, measures: TableViews
) -> list[tuple[str, str, str | None, str]]:
    # Directly from the files: repeated values do not matter here.
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
