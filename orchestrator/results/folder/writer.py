"""Writes parts: small Parquet files that appear whole or not at all."""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestrator.errors import ResultsError
from orchestrator.results.folder.place import is_part_name
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.store.atomic import is_temporary, replacing
from orchestrator.results.store.checksum import write_sealed
from orchestrator.results.store.store_path import Location
from orchestrator.results.table_schemas import ADDED_TABLES, FLOATS, TIME, swept_columns_of

COMPRESSION = "zstd"
COMPRESSION_LEVEL = 3
ROW_GROUP_SIZE = 122_880


def write_part(
    folder: ResultsFolder, table: str, rows: Iterable[Mapping[str, Any]], name: str
) -> Location | None:
    """Store rows as one part of a table, replacing any part of the same name.

    Args:
        folder: The study's results.
        table: Name of the table.
        rows: Mappings from column to value. Missing columns are null, except ``written_at``
            (now) and ``variant`` (empty).
        name: Name of the part, unique within the table, without ``.parquet``.

    Returns:
        The file, or None if ``rows`` is empty.

    Raises:
        ResultsError: If a table, column, type or name is not valid; nothing is written then.
    """
    rows = list(rows)
    if not rows:
        return None
    if table in ADDED_TABLES:  # It may be missing, or lack columns of later releases.
        folder.prepare_table(table)
    schema = folder.schema(table)
    if not is_part_name(name) or name.startswith("compact-"):
        raise ResultsError(f"{name!r} can't be the name of a part of {table}")
    text_columns = {c for c, kind in _swept(table, schema).items() if kind is str}
    filled = [_fill(row, schema, text_columns) for row in rows]
    columns = [_column(table, field, [row.get(field.name) for row in filled]) for field in schema]
    path = folder.table(table) / f"{name}.parquet"
    with replacing(path) as temporary:
        write_sealed(
            pa.table(columns, schema=schema),
            temporary,
            place=str(folder.place(table, name)),
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            row_group_size=ROW_GROUP_SIZE,
            write_page_checksum=True,
        )
    return path


def sweep_temporary(folder: ResultsFolder) -> int:
    """Remove unfinished files left by killed writers, and return their number.

    The caller must have the folder's lock and call this before anything else writes.
    """
    if not isinstance(folder.path, Path):
        return 0  # A store has no partially written objects.
    strays = [path for path in folder.path.rglob(".*") if is_temporary(path.name)]
    for path in strays:
        if path.is_dir():  # Data that a compaction sorted on disk.
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return len(strays)


def _swept(table: str, schema: pa.Schema) -> dict[str, type]:
    return swept_columns_of(schema) if table == "trials" else {}


def _fill(row: Mapping[str, Any], schema: pa.Schema, text_columns: set[str]) -> dict[str, Any]:
    filled = dict(row)
    for name, default in (("written_at", datetime.now(UTC)), ("variant", "")):
        if name in schema.names and filled.get(name) is None:
            filled[name] = default
    unknown = sorted(filled.keys() - set(schema.names))
    if unknown:
        close = difflib.get_close_matches(unknown[0], schema.names, n=1)
        raise ResultsError(
            f"unknown column {', '.join(map(repr, unknown))}",
            f"did you mean {close[0]!r}?" if close else f"columns are {', '.join(schema.names)}",
        )
    for name in text_columns:
        value = filled.get(name)
        if value is not None and not isinstance(value, str):
            # The values of a swept path may mix numbers, names and lists.
            filled[name] = json.dumps(value, sort_keys=True)
    return filled


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_float(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_floats(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_float, value))


_CHECKS: dict[pa.DataType, tuple[str, Callable[[Any], bool]]] = {
    pa.bool_(): ("true or false", lambda value: isinstance(value, bool)),
    pa.int64(): ("an integer", _is_int),
    pa.float64(): ("a number", _is_float),
    pa.string(): ("text", lambda value: isinstance(value, str)),
    FLOATS: ("a list of numbers", _is_floats),
    TIME: ("a time with a time zone", _is_time),
}


def _column(table: str, field: pa.Field, values: list[Any]) -> pa.Array:
    expected, fits = _CHECKS[field.type]
    for value in values:
        if value is None and not field.nullable:
            raise ResultsError(f"{table}.{field.name}: missing, expected {expected}")
        if value is not None and not fits(value):
            raise ResultsError(
                f"{table}.{field.name}: got {value!r} ({type(value).__name__}), expected {expected}"
            )
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise ResultsError(f"{table}.{field.name}: {error}") from error
