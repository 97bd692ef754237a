"""SQL of the views that merge the parts of a table, with each fact once.

The newest compacted file already contains each fact once, so only groups of rows that newer
parts touch are checked for repetitions. A window over all rows would need minutes and
gigabytes; this needs neither.
"""

# ruff: noqa: S608 - all names in the SQL are this package's own; paths are quoted.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from orchestrator.results.folder.parts import Part
from orchestrator.results.folder.place import compaction_number
from orchestrator.results.folder.results_folder import SCHEMA_FILE, ResultsFolder
from orchestrator.results.table_schemas import FLOATS, KEYS, MEASURED, TIME, complete_schema

_SQL_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    FLOATS: "DOUBLE[]",
    TIME: "TIMESTAMPTZ",
}


@dataclass(frozen=True)
class TableViews:
    """The views of one table.

    DuckDB opens every file that a view reads when the view is created, and again for each
    view built on it. So ``views`` are created on ``empty`` sources, which are then replaced.

    Attributes:
        empty: Source → SQL with its columns and no rows.
        views: Statements that create ``parts.<table>_latest`` with each fact once, and
            ``<table>`` with the same rows, but times in UTC without their zone.
        sources: Source → SQL of its rows. ``parts.<table>`` has every row as stored,
            including repetitions.
    """

    empty: dict[str, str]
    views: tuple[str, ...]
    sources: dict[str, str]


def table_views(
    folder: ResultsFolder, table: str, parts: Sequence[Part], *, without: bool = False
) -> TableViews:
    """Return the SQL of one table's views over some of its parts, and no other file.

    Args:
        folder: The results.
        table: Name of the table.
        parts: Its parts, from :func:`~orchestrator.results.folder.parts.whole_parts`.
        without: Whether ``<table>`` leaves out the trials in ``parts.left_out``.
    """
    stored = folder.schema(table)
    schema = complete_schema(table, stored)
    columns = ", ".join(
        f"{identifier(f.name) if f.name in stored.names else 'NULL'}::{_SQL_TYPES[f.type]} "
        f"AS {identifier(f.name)}"
        for f in schema
    )
    pinned = folder.readable(table) / SCHEMA_FILE  # Has every column.
    if not pinned.is_file():
        return views_of_nothing(table, schema)

    def rows(*files: Path) -> str:
        return f"SELECT {columns} FROM read_parquet({_list([pinned, *files])}, union_by_name=true)"

    everything = [part.path for part in parts]
    compacted = max(everything, key=compaction_number, default=None)
    if table not in KEYS or compacted is None or not compaction_number(compacted):
        sources = {f"parts.{table}": rows(*everything)}
        latest = _once(table, f"parts.{table}")
    else:
        sources = {
            f"parts.{table}_compacted": rows(compacted),
            f"parts.{table}_fresh": rows(*(path for path in everything if path != compacted)),
            f"parts.{table}": f"FROM parts.{table}_compacted UNION ALL FROM parts.{table}_fresh",
        }
        latest = _merged(table)
    return TableViews(
        empty=dict.fromkeys(sources, rows()),
        views=_views(table, schema, latest, without),
        sources=sources,
    )


def views_of_nothing(table: str, schema: pa.Schema) -> TableViews:
    """Return the views of a table without rows, such as one newer than the folder."""
    columns = ", ".join(f"NULL::{_SQL_TYPES[f.type]} AS {identifier(f.name)}" for f in schema)
    source = f"parts.{table}"
    empty = {source: f"SELECT {columns} WHERE false"}
    return TableViews(empty, _views(table, schema, f"SELECT * FROM {source}"), empty)


def _views(table: str, schema: pa.Schema, latest: str, without: bool = False) -> tuple[str, str]:
    times = ", ".join(
        # DuckDB's Python client needs pytz for times with a zone.
        f"make_timestamp(epoch_us({identifier(f.name)})) AS {identifier(f.name)}"
        for f in schema
        if pa.types.is_timestamp(f.type)
    )
    public = f"SELECT * REPLACE ({times})" if times else "SELECT *"
    asked = [
        f"{name} NOT IN (SELECT trial_id FROM parts.left_out)"
        for name in ("trial_id", "other_trial_id")
        if without and name in schema.names
    ]
    where = f" WHERE {' AND '.join(asked)}" if asked else ""
    return (
        f"CREATE VIEW parts.{table}_latest AS {latest}",
        f"CREATE VIEW {table} AS {public} FROM parts.{table}_latest{where}",
    )


def _merged(table: str) -> str:
    group = KEYS[table].group
    touched = f"""(
        FROM parts.{table}_fresh
        UNION ALL (FROM parts.{table}_compacted SEMI JOIN parts.{table}_fresh USING ({group}))
    )"""
    return f"""
        (FROM parts.{table}_compacted ANTI JOIN parts.{table}_fresh USING ({group}))
        UNION ALL ({_once(table, touched)})
    """


def _once(table: str, rows: str) -> str:
    if table not in KEYS:
        return f"SELECT DISTINCT ON (measure) * FROM {rows}"
    keys = KEYS[table]
    # A failure is stored under its request's name; successes have names of measures.
    only = f"""
        AND ({MEASURED} OR NOT bool_or({MEASURED}) OVER (PARTITION BY checkpoint_id, request))
    """
    return f"""
        SELECT * FROM {rows} QUALIFY row_number() OVER (
            PARTITION BY {", ".join(keys.key)} ORDER BY {keys.preference}
        ) = 1 {only if table == "measures" else ""}
    """


def quote(value: str | Path) -> str:
    """Return ``value`` as an SQL string literal."""
    text = str(value).replace("'", "''")
    return f"'{text}'"


def identifier(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier; it may contain any characters."""
    text = name.replace('"', '""')
    return f'"{text}"'


def _list(paths: Iterable[Path]) -> str:
    return f"[{', '.join(map(quote, paths))}]"
