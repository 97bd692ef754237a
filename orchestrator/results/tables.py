"""SQL of the views that make one table of many parts, each fact once.

The newest compacted file holds each fact once already, so only groups of rows that newer
parts touch are looked at for repetitions: a window over everything would need minutes and
gigabytes where this needs neither.
"""

# ruff: noqa: S608 - all names in the SQL are this package's own; paths are quoted.

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from orchestrator.results.folder import SCHEMA_FILE, ResultsFolder
from orchestrator.results.schema import FLOATS, KEYS, MEASURED, TABLES, TIME

_COMPACTED = re.compile(r"compact-(\d+)\.parquet")
_SQL_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    FLOATS: "DOUBLE[]",
    TIME: "TIMESTAMPTZ",
}


def compaction_number(path: Path) -> int:
    """The ``n`` of ``compact-<n>.parquet``; 0 for every other file."""
    match = _COMPACTED.fullmatch(path.name)
    return int(match[1]) if match else 0


def table_views(folder: ResultsFolder) -> Iterator[str]:
    """Statements that create, for each table, its view and those it is made of.

    ``parts.<table>`` has the rows as stored, repetitions included; ``parts.<table>_latest``
    each fact once; ``<table>`` the same, with times in UTC without their zone.
    """
    for table in TABLES:
        yield from _views(folder, table)


def _views(folder: ResultsFolder, table: str) -> Iterator[str]:
    directory = folder.table(table)
    schema = folder.schema(table)
    columns = ", ".join(f'"{f.name}"::{_SQL_TYPES[f.type]} AS "{f.name}"' for f in schema)
    everything = f"read_parquet({quote(directory / '*.parquet')}, union_by_name = true)"
    yield f"CREATE VIEW parts.{table} AS SELECT {columns} FROM {everything}"
    if table not in KEYS:
        yield f"CREATE VIEW {table} AS SELECT DISTINCT ON (measure) * FROM parts.{table}"
        return
    compacted = max(directory.glob("compact-*.parquet"), key=compaction_number, default=None)
    if compacted is None:
        yield f"CREATE VIEW parts.{table}_latest AS {_once(table, f'parts.{table}')}"
    else:
        files = f"[{quote(directory / SCHEMA_FILE)}, {quote(compacted)}]"
        yield (
            f"CREATE VIEW parts.{table}_compacted AS "
            f"SELECT {columns} FROM read_parquet({files}, union_by_name = true)"
        )
        named = everything.removesuffix(")") + ", filename = true)"
        yield (
            f"CREATE VIEW parts.{table}_fresh AS "
            f"SELECT {columns} FROM {named} WHERE filename <> {quote(compacted)}"
        )
        yield f"CREATE VIEW parts.{table}_latest AS {_merged(table)}"
    times = ", ".join(
        # DuckDB's Python client needs pytz for times with a zone.
        f'make_timestamp(epoch_us("{f.name}")) AS "{f.name}"'
        for f in schema
        if pa.types.is_timestamp(f.type)
    )
    yield f"CREATE VIEW {table} AS SELECT * REPLACE ({times}) FROM parts.{table}_latest"


def _merged(table: str) -> str:
    group = KEYS[table].group
    touched = (
        f"(FROM parts.{table}_fresh UNION ALL "
        f"(FROM parts.{table}_compacted SEMI JOIN parts.{table}_fresh USING ({group})))"
    )
    return (
        f"(FROM parts.{table}_compacted ANTI JOIN parts.{table}_fresh USING ({group})) "
        f"UNION ALL ({_once(table, touched)})"
    )


def _once(table: str, rows: str) -> str:
    keys = KEYS[table]
    sql = (
        f"SELECT * FROM {rows} QUALIFY row_number() OVER "
        f"(PARTITION BY {', '.join(keys.key)} ORDER BY {keys.preference}) = 1"
    )
    if table == "measures":
        # A failure is stored under its request's name; success has other measures' names.
        sql += (
            f" AND ({MEASURED} OR NOT bool_or({MEASURED}) "
            "OVER (PARTITION BY checkpoint_id, request))"
        )
    return sql


def quote(value: str | Path) -> str:
    """``value`` as a string literal of SQL."""
    text = str(value).replace("'", "''")
    return f"'{text}'"
