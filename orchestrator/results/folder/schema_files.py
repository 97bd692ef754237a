"""The stored table schemas of a results folder, which also carry its identity."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import ResultsError, error_text
from orchestrator.results.folder.place import Place
from orchestrator.results.store.atomic import replacing
from orchestrator.results.store.checksum import read_seal, write_sealed
from orchestrator.results.store.store_path import Location
from orchestrator.results.table_schemas import (
    SCHEMA_VERSION,
    TABLES,
    VERSION_KEY,
    merge_swept,
    swept_columns_of,
    table_schema,
)

SCHEMA_FILE = "_schema.parquet"
_STEM = SCHEMA_FILE.partition(".")[0]


class _Stored(NamedTuple):
    modified: int
    schema: pa.Schema
    results: str


class SchemaFiles:
    """Reads and writes ``<table>/_schema.parquet``; caches each schema until its file changes.

    Args:
        path: The results folder.
    """

    def __init__(self, path: Location) -> None:
        self._path = path
        self._known: dict[str, _Stored] = {}

    def path_of(self, table: str) -> Location:
        """Return the path of a table's schema file."""
        return self._path / table / SCHEMA_FILE

    def find(self, table: str) -> pa.Schema | None:
        """Return the stored schema of a table; None if its file is missing.

        Raises:
            ResultsError: If the file is damaged, or newer than this package.
        """
        found = self._find(table)
        if found is None:
            return None
        if found.results and found.results != self.results:
            raise _damaged(self.path_of(table), "it belongs to other results")
        return found.schema

    @property
    def results(self) -> str:
        """Random, permanent identity of the results; empty for results of earlier releases.

        Raises:
            ResultsError: As in :meth:`find`.
        """
        found = next(filter(None, map(self._find, TABLES)), None)
        return "" if found is None else found.results

    def prepare(self, table: str, swept: Mapping[str, type], results: str = "") -> None:
        """Store the schema of a table if it is missing or lacks columns.

        Args:
            table: Name of the table.
            swept: For ``trials``, the study's own columns, added to the stored ones.
            results: Identity of the results if no stored schema has one; by default a new one.
        """
        stored, schema = self._find(table), self.completed(table, swept)
        if (
            stored is None
            or not stored.results
            or not stored.schema.equals(schema, check_metadata=False)
        ):
            place = Place(self.results or results or uuid.uuid4().hex, table, _STEM)
            path = self.path_of(table)
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as temporary:
                write_sealed(schema.empty_table(), temporary, place=str(place))
            self._known.pop(table, None)

    def completed(self, table: str, swept: Mapping[str, type]) -> pa.Schema:
        """Return a table's schema with the current, the stored and the ``swept`` columns.

        Raises:
            ResultsError: If a swept column differs from a stored one only in case.
        """
        stored = self._find(table)
        if table == "trials" and stored is not None:
            swept = merge_swept(swept_columns_of(stored.schema), swept)
        return table_schema(table, swept)

    def _find(self, table: str) -> _Stored | None:
        path = self.path_of(table)
        try:
            # In a store, a check for changes would cost as much as reading the file again.
            modified = path.stat().st_mtime_ns if isinstance(path, Path) else 0
            if table in self._known and self._known[table].modified == modified:
                return self._known[table]
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        self._known[table] = _Stored(modified, *self._read(path, table, content))
        return self._known[table]

    def _read(self, path: Location, table: str, content: bytes) -> tuple[pa.Schema, str]:
        seal = read_seal(content)
        if seal is not None and not seal.fits:
            raise _damaged(path, "its checksum differs")
        results = ""
        if seal is not None and seal.place is not None:
            wrong = Place("", table, _STEM).unlike(seal.place)
            if wrong:
                raise _damaged(path, wrong)
            results = seal.place.partition("/")[0]
        try:
            schema = pq.read_schema(pa.BufferReader(content))
            version = int((schema.metadata or {}).get(VERSION_KEY, b"0"))
        except Exception as error:  # A parser may raise anything on corrupted bytes.
            raise _damaged(path, error_text(error).splitlines()[0]) from error
        if version > SCHEMA_VERSION:
            raise ResultsError(
                f"{self._path}: results have schema version {version}, "
                f"but this package supports versions up to {SCHEMA_VERSION}",
                "use the newer package version that wrote them",
            )
        return schema, results


def _damaged(path: Location, why: str) -> ResultsError:
    return ResultsError(
        f"{path}: damaged: {why}", "delete it and run the study again, which recreates it"
    )
