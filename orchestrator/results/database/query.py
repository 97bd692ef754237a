"""SQL queries from outside: one statement that only reads, and only the given results."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Literal, TypeVar

import duckdb

from orchestrator.errors import FilesGoneError, QueryError
from orchestrator.results.database.connection import (
    LOCKED_DOWN,
    MEASURE_COLUMN_VIEWS,
    again_if_compacted,
    connect,
)
from orchestrator.results.database.read_only_sql import check_only_reads
from orchestrator.results.database.several_folders import Results, open_folders
from orchestrator.results.database.table_views import quote
from orchestrator.results.folder.parts import RUN_AGAIN
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.store.store_path import StorePath
from orchestrator.results.table_schemas import TABLES

ResultFormat = Literal["table", "csv", "json", "markdown", "parquet"]
T = TypeVar("T")

# Only these queries need the columns of measures, which cost a scan of all measures.
_NEEDS_MEASURE_COLUMNS = re.compile(
    r"wide|by_condition|parts|show|duckdb_|information_schema|pg_catalog|describe", re.IGNORECASE
)
_MISSING_TABLE = re.compile(r"Table with name \"?(\w+)\"? does not exist")


def query(path: Results, sql: str) -> duckdb.DuckDBPyRelation:
    """Run an SQL query on results.

    The statement runs on its own connection, which can read the Parquet files of the tables
    and nothing else on the machine or the network. It cannot write or change these settings.
    Memory and time are not limited.

    Args:
        path: The results folder, or several; see :func:`connect`.
        sql: One statement: SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.

    Returns:
        A relation, with ``.df()``, ``.pl()``, ``.to_arrow_table()``, ``.fetchall()``; see also
        :func:`write_result`.

    Raises:
        ResultsError: If ``path`` contains no results.
        QueryError: If the SQL is wrong, or would do anything but read.
    """
    connection = _open(path, sql)
    try:
        with sql_errors(connection):
            return connection.sql(sql)
    except BaseException:
        connection.close()
        raise


def ask(
    path: Results,
    sql: str,
    use: Callable[[duckdb.DuckDBPyRelation], T],
    *,
    without: Collection[str] = (),
) -> T:
    """Run an SQL query that Ctrl-C can always interrupt.

    DuckDB checks for signals only between the batches of a result, and some queries never reach
    a first batch. So the query runs in another thread than the one that receives signals.

    Args:
        path: As for :func:`query`.
        sql: As for :func:`query`.
        use: Function that takes the relation and fetches data from it.
        without: As for :func:`connect`.

    Returns:
        The return value of ``use``.

    Raises:
        ResultsError: If ``path`` contains no results.
        QueryError: If the SQL is wrong, fails while it runs, or would do anything but read.
    """
    answered: Future[T] = Future()

    def answer() -> None:
        try:
            with sql_errors(connection):
                answered.set_result(use(connection.sql(sql)))
        except BaseException as error:
            answered.set_exception(error)

    with closing(_open(path, sql, without)) as connection:
        beside = Thread(target=answer)
        try:
            # Inside the try: an interrupt may arrive as soon as the thread has started.
            beside.start()
            return answered.result()
        finally:
            # Wait for the thread, because the connection is closed next. An interrupt between two
            # statements is lost, so one may not be enough.
            while beside.is_alive():
                with suppress(KeyboardInterrupt):
                    if not answered.done():
                        connection.interrupt()
                    beside.join(timeout=0.1)


def _open(path: Results, sql: str, without: Collection[str] = ()) -> duckdb.DuckDBPyConnection:
    """Return a connection on which ``sql`` can only read these results."""
    several = not isinstance(path, str | Path | StorePath | ResultsFolder)
    folders = open_folders(path)
    with sql_errors(), duckdb.connect(":memory:") as bare:
        check_only_reads(bare, sql)
    connection = again_if_compacted(connect)(
        folders if several else folders[0],
        measure_columns=_NEEDS_MEASURE_COLUMNS.search(sql) is not None,
        without=without,
    )
    try:
        with sql_errors(connection):
            _lock_down(connection, folders)
    except BaseException:
        connection.close()
        raise
    return connection


def _lock_down(connection: duckdb.DuckDBPyConnection, folders: Iterable[ResultsFolder]) -> None:
    # Not the whole folder: if a query found a way to write, snapshots would be out of reach.
    tables = ", ".join(quote(folder.readable(table)) for folder in folders for table in TABLES)
    for setting in (f"SET allowed_directories = [{tables}]", *LOCKED_DOWN):
        connection.execute(setting)


def sql_text(sql: str, results: Sequence[str]) -> str:
    """Return the SQL given on a command line.

    Args:
        sql: SQL, a file that ends in ``.sql``, or ``-`` for standard input.
        results: The results folders given before ``sql``.

    Raises:
        QueryError: If the SQL cannot be read, or ``sql`` is another folder.
    """
    folder = os.path.isdir(sql)
    if folder or not results:
        what = "no SQL given" if folder else "no results folder given"
        named = " ".join([*results, sql] if folder else ["RESULTS"])
        raise QueryError(
            what, f"the SQL comes after all folders: query {named} 'FROM final LIMIT 5'"
        )
    try:
        if sql == "-":
            return sys.stdin.read()
        return Path(sql).read_text(encoding="utf-8") if sql.endswith(".sql") else sql
    except (OSError, ValueError) as error:  # Missing, not text, a name with a NUL.
        where = "standard input" if sql == "-" else sql
        raise QueryError(f"{where}: cannot be read: {error}") from error


@contextmanager
def sql_errors(connection: duckdb.DuckDBPyConnection | None = None) -> Iterator[None]:
    """Turn DuckDB's errors into :class:`QueryError`, with its message and position.

    Args:
        connection: Connection whose tables are suggested when a name is wrong.
    """
    try:
        yield
    except duckdb.IOException as error:
        raise FilesGoneError(str(error), RUN_AGAIN) from error
    except duckdb.PermissionException as error:
        raise QueryError(str(error), "a query can only read the tables of these results") from error
    except duckdb.Error as error:
        missing = _MISSING_TABLE.search(str(error))
        hint = _similar(connection, missing[1]) if connection and missing else None
        message = re.sub(r'\nDid you mean "[^"]*"\?', "", str(error)) if hint else str(error)
        raise QueryError(message.strip(), hint) from error


def _similar(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    views = connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
    ).fetchall()
    names = sorted({*(row[0] for row in views), *MEASURE_COLUMN_VIEWS})
    close = difflib.get_close_matches(name, names, n=1)
    known = f"the tables and views are {', '.join(names)}"
    return f"did you mean {close[0]}? {known}" if close else known
