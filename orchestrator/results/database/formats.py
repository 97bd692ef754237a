"""Writes query results for people, spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, BinaryIO, TextIO, cast, get_args

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import QueryError
from orchestrator.results.database.query import ResultFormat, sql_errors
from orchestrator.results.database.table_views import identifier
from orchestrator.results.database.text_table import draw_table
from orchestrator.results.folder.writer import COMPRESSION, COMPRESSION_LEVEL
from orchestrator.terminal import printable

BATCH_ROWS = 65_536
_CONTROLS = re.compile(r"[\x7f-\x9f]")  # JSON escapes only those below these.
_MARKUP = re.compile(r"([\\|<`]|(?<=\])\()")


def write_result(
    relation: duckdb.DuckDBPyRelation,
    format: ResultFormat,
    stream: BinaryIO | TextIO,
    *,
    width: int | None = None,
    most_rows: int = 40,
) -> int:
    """Write the rows of ``relation`` as they arrive, since they may not all fit in memory.

    - ``table``: aligned columns, at most ``most_rows`` rows, cut to ``width``, and the total
      number of rows; for reading only.
    - ``csv``: RFC 4180 in UTF-8, with a header. NULL is empty; numbers, including ``nan`` and
      ``inf``, have full precision; lists and structures are JSON. Control characters are escaped
      only if ``stream`` is a terminal.
    - ``json``: a list of objects. JSON has neither NaN nor infinities; these become ``null``, like
      NULL.
    - ``markdown``: a table of all rows, in which nothing becomes a tag, a link or code.
    - ``parquet``: the format of the stored tables; nothing is lost. Intervals, for which it has no
      type, become text.

    Args:
        relation: Relation from :func:`query` or any other connection.
        format: One of the above.
        stream: Accepts bytes, or has a ``buffer`` that does, like ``sys.stdout``; need not be
            seekable.
        width: Characters per line of the terminal; None does not cut.
        most_rows: Maximum number of rows of ``table``.

    Returns:
        The number of rows of the result.

    Raises:
        QueryError: If the query fails while it runs, or the format does not exist.
    """
    formats = get_args(ResultFormat)
    if format not in formats:
        raise QueryError(f"unknown format {format!r}", f"formats are {', '.join(formats)}")
    binary = cast(BinaryIO, getattr(stream, "buffer", stream))
    with sql_errors():
        if format == "parquet":
            relation = _without_intervals(relation)
        reader = relation.to_arrow_reader(BATCH_ROWS)
        names = distinct(reader.schema.names)
        if format == "parquet":
            return _write_parquet(reader, names, binary)
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        try:
            if format == "csv":
                clean = printable if binary.isatty() else str
                return _write_csv(reader, names, text, clean)
            if format == "json":
                return _write_json(reader, names, text)
            numeric = [_is_numeric(field.type) for field in reader.schema]
            if format == "markdown":
                return _write_markdown(reader, names, numeric, text)
            lines, count = draw_table(
                names, numeric, _rows(reader), width=width, most_rows=most_rows
            )
            text.writelines(f"{line}\n" for line in lines)
            return count
        finally:
            text.detach()


def format_result(
    relation: duckdb.DuckDBPyRelation,
    format: ResultFormat = "table",
    *,
    width: int | None = None,
    most_rows: int = 40,
) -> str:
    """Return the text that :func:`write_result` would write.

    Raises:
        QueryError: As for :func:`write_result`, and for ``parquet``, which is not text.
    """
    if format == "parquet":
        raise QueryError("parquet is not text", "use write_result, or relation.write_parquet(file)")
    stream = io.BytesIO()
    write_result(relation, format, stream, width=width, most_rows=most_rows)
    return stream.getvalue().decode()


def _write_csv(
    reader: pa.RecordBatchReader, names: list[str], text: TextIO, clean: Callable[[str], str]
) -> int:
    writer = csv.writer(text)
    writer.writerow([clean(name) for name in names])
    count = 0
    for count, row in enumerate(_rows(reader), start=1):  # noqa: B007 - the last is the number
        writer.writerow([clean(str(plain(value))) for value in row])
    return count


def _write_json(reader: pa.RecordBatchReader, names: list[str], text: TextIO) -> int:
    count = 0
    text.write("[")
    for count, row in enumerate(_rows(reader), start=1):
        record = {name: _strict(value) for name, value in zip(names, row, strict=True)}
        text.write(",\n" if count > 1 else "\n")
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, default=str)
        text.write(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", line))
    text.write("\n]\n" if count else "]\n")
    return count


def _write_markdown(
    reader: pa.RecordBatchReader, names: list[str], numeric: list[bool], text: TextIO
) -> int:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |\n"

    text.write(line([_escape(name) for name in names]))
    text.write(line(["---:" if right else "---" for right in numeric]))
    count = 0
    for count, row in enumerate(_rows(reader), start=1):  # noqa: B007 - the last is the number
        text.write(line([_escape(str(plain(value))) for value in row]))
    return count


def _without_intervals(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    if "INTERVAL" not in map(str, relation.types):
        return relation
    columns = [
        f"#{number}::VARCHAR AS {identifier(name)}" if str(kind) == "INTERVAL" else f"#{number}"
        for number, (name, kind) in enumerate(zip(relation.columns, relation.types, strict=True), 1)
    ]
    return relation.project(", ".join(columns))


def _write_parquet(reader: pa.RecordBatchReader, names: list[str], stream: BinaryIO) -> int:
    schema = pa.schema(
        [field.with_name(name) for field, name in zip(reader.schema, names, strict=True)]
    )
    count = 0
    with pq.ParquetWriter(
        _Counting(stream), schema, compression=COMPRESSION, compression_level=COMPRESSION_LEVEL
    ) as writer:
        for batch in reader:
            writer.write_batch(pa.record_batch(batch.columns, schema=schema))
            count += batch.num_rows
    return count


class _Counting(io.RawIOBase):
    """Tracks its position, which Parquet needs and pipes lack; leaves its stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        if not self.closed:
            self._stream.flush()


def _rows(reader: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    for batch in reader:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def distinct(names: Sequence[str]) -> list[str]:
    """Return ``names``, with ``_1``, ``_2`` … appended to repeated ones."""
    taken: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.append(candidate)
    return taken


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def plain(value: Any) -> Any:
    """Return a value as in CSV: numbers in full precision, None as an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list | dict):
        return json.dumps(_strict(value), ensure_ascii=False, default=str)
    return value


def _strict(value: Any) -> Any:
    """Return ``value`` in a form that JSON can represent."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    return value


def _escape(text: str) -> str:
    return printable(_MARKUP.sub(r"\\\1", text)).replace("\n", "<br>")
