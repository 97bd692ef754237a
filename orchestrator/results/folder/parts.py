"""The only module that opens parts; it accepts only intact parts in their own place.

Each file is checked once per process, before anything parses it. Its seal covers all of its bytes
and names the results, table and part for which it was written, so neither a flipped bit nor a file
from elsewhere passes. Parts of earlier releases without a seal are read in full, since their pages
have checksums. Hidden files and files whose names start with ``_`` are not parts.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import FilesGoneError, ResultsError, error_text
from orchestrator.results.folder.place import Place, compaction_number, is_part_name
from orchestrator.results.folder.schema_files import SCHEMA_FILE
from orchestrator.results.store.atomic import SETTLED_NANOSECONDS
from orchestrator.results.store.checksum import read_seal
from orchestrator.results.store.mirror import Mirror
from orchestrator.results.store.store_path import Location, StorePath
from orchestrator.results.table_schemas import TABLES, table_schema

MEND = "run the study again: it moves damaged files to damaged/ and recomputes the lost data"
RUN_AGAIN = "try again if the results were compacted while they were read"
THREADS = 8  # Most of the time is spent waiting for a disk, perhaps over a network.
FILES_A_TASK = 32
MOST_LISTINGS = 10

_Known = dict[Path, tuple[Place, tuple[int, ...]]]
# Table folder → its files that were found intact, each with its place and version.
_whole: dict[Path, _Known] = {}


class Tables(Protocol):
    """The part of :class:`ResultsFolder` that is used here; see there."""

    path: Location
    mirror: Mirror | None

    def refresh(self) -> None:
        """Update the local copies of an object store."""

    def table(self, table: str) -> Location:
        """Return the folder of a table's parts."""

    def readable(self, table: str) -> Path:
        """Return the local folder of a table's parts."""

    def stored_schema(self, table: str) -> pa.Schema | None:
        """Return the schema of a table; None if it is missing."""

    def place(self, table: str, name: str) -> Place:
        """Return the place of a part."""


@dataclass(frozen=True)
class Part:
    """A file with rows of a table, after its check.

    Attributes:
        path: Path on this machine.
        origin: Path in the results: the same, or in an object store.
        stat: Status of the file when it was checked.
        damage: Reason why it must not be read; empty if it is intact.
    """

    path: Path
    origin: Location
    stat: os.stat_result
    damage: str = ""


def whole_parts(folder: Tables) -> dict[str, list[Part]]:
    """Return the parts of each table, all intact: the only files whose rows may be read.

    If the results are in an object store, these are the local copies. A damaged copy of an intact
    object is fetched again.

    Raises:
        ResultsError: If a part is damaged or cannot be read, or a table with parts lacks its
            schema.
        FilesGoneError: If files keep vanishing.
    """
    try:
        found = _examined(folder)
        copies = [part for part in _damaged(found) if _is_copy_alone(folder, part)]
        if copies:
            folder.refresh()
            found = _examined(folder)
    except OSError as error:
        raise ResultsError(
            f"{error.filename or folder.path}: cannot be read: {error.strerror or error}",
            "check its permissions and the disk",
        ) from error
    refuse_damaged(_damaged(found))
    for table, parts in found.items():
        if parts and folder.stored_schema(table) is None:
            raise ResultsError(
                f"{folder.table(table) / SCHEMA_FILE}: missing, but {table} has parts",
                "run the study again, which recreates it",
            )
    return found


def versions_of_parts(folder: Tables) -> frozenset[tuple[str, int, int]]:
    """Return the path, size and time of every part, which differ after any write; none is opened.

    Raises:
        ResultsError: If the store cannot be reached.
    """
    folder.refresh()
    found = set()
    for paths in _listed(folder, TABLES).values():
        for path in paths:
            with suppress(FileNotFoundError):  # Compaction has just removed it.
                status = path.stat()
                found.add((str(path), status.st_size, status.st_mtime_ns))
    return frozenset(found)


def undamaged_parts(folder: Tables, table: str) -> list[Part]:
    """Return the intact parts of one table, for repairs; damaged parts are left out.

    Raises:
        OSError: If a part cannot be read for a reason other than damage.
    """
    return [part for part in _examined(folder, [table])[table] if not part.damage]


def identity_of(folder: Tables) -> str:
    """Return the identity of results without schemas, from their parts; empty if unknown."""
    for table in TABLES:
        for part in undamaged_parts(folder, table):
            seal = read_seal(part.path)
            if seal is not None and seal.place is not None:
                return seal.place.partition("/")[0]
    return ""


def damaged_parts(folder: Tables) -> list[Location]:
    """Return the sorted paths of parts that are damaged or not in their own place.

    Damaged copies of intact objects in a store are deleted instead.

    Raises:
        OSError: If a part cannot be read for a reason other than damage.
    """
    folder.refresh()
    damaged = _damaged(_examined(folder))
    return [part.origin for part in damaged if not _is_copy_alone(folder, part)]


def refuse_damaged(damaged: Sequence[Part]) -> None:
    """Raise a :class:`ResultsError` that names the first damaged part, if any."""
    if damaged:
        others = f"; other damaged parts: {len(damaged) - 1}" if len(damaged) > 1 else ""
        raise ResultsError(f"{damaged[0].origin}: damaged: {damaged[0].damage}{others}", MEND)


def _damaged(found: dict[str, list[Part]]) -> list[Part]:
    parts = [part for each in found.values() for part in each if part.damage]
    return sorted(parts, key=lambda part: str(part.path))


def _examined(folder: Tables, tables: Collection[str] = TABLES) -> dict[str, list[Part]]:
    for _ in range(MOST_LISTINGS):
        listed = _listed(folder, tables)
        found = {table: _examine_table(folder, table, sorted(listed[table])) for table in tables}
        # Compaction may rename and remove files during a listing, so rows could be missed.
        later = _listed(folder, tables)
        if all(
            listed[table] <= later[table]
            and not any(map(compaction_number, later[table] - listed[table]))
            for table in tables
        ):
            return found
    raise FilesGoneError(f"{folder.path}: files vanished while they were read", RUN_AGAIN)


def _listed(folder: Tables, tables: Collection[str]) -> dict[str, set[Path]]:
    found: dict[str, set[Path]] = {}
    for table in tables:
        directory = folder.readable(table)
        try:
            names = [name for name in os.listdir(directory) if name.endswith(".parquet")]
        except (FileNotFoundError, NotADirectoryError):
            names = []
        found[table] = {directory / name for name in names if not name.startswith((".", "_"))}
        if folder.mirror is not None and SCHEMA_FILE in names:  # On disk, it is read elsewhere.
            found[table].add(directory / SCHEMA_FILE)
    return found


def _examine_table(folder: Tables, table: str, paths: Sequence[Path]) -> list[Part]:
    if not paths:
        return []
    origin, results = folder.table(table), folder.place(table, "").results
    columns = _Columns(table, folder.stored_schema(table))
    before, now = _whole.get(paths[0].parent, {}), _Known()

    def examine(start: int) -> list[Part | None]:
        return [
            examine_file(
                path, origin / path.name, Place(results, table, path.stem), columns, before, now
            )
            for path in paths[start : start + FILES_A_TASK]
        ]

    starts = range(0, len(paths), FILES_A_TASK)
    if len(starts) == 1:
        done = [examine(0)]
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            done = list(pool.map(examine, starts))
    _whole[paths[0].parent] = now
    parts = [part for some in done for part in some if part is not None]
    return [part for part in parts if part.damage or part.path.name != SCHEMA_FILE]


def examine_file(
    path: Path, origin: Location, place: Place, columns: _Columns, before: _Known, now: _Known
) -> Part | None:
    """Return the part at ``path``, noted in ``now`` if intact; None if the file is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if not path.is_symlink():
            return None
        return Part(path, origin, path.lstat(), "it is a broken link")
    version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if before.get(path) == (place, version):
        now[path] = (place, version)
        return Part(path, origin, found)
    named = is_part_name(path.stem) or path.name == SCHEMA_FILE
    if not named or not stat.S_ISREG(found.st_mode):
        return Part(path, origin, found, "it is not a part of these results")
    try:
        damage = _damage(path, place, columns)
    except FileNotFoundError:
        return None
    # Within one clock tick, a file may change without a new time.
    if not damage and time.time_ns() - max(version[-2:]) > SETTLED_NANOSECONDS:
        now[path] = (place, version)
    return Part(path, origin, found, damage)


class _Columns:
    """The columns that the parts of a table may and must have."""

    def __init__(self, table: str, schema: pa.Schema | None) -> None:
        self.required = {field.name for field in table_schema(table) if not field.nullable}
        self.known = None if schema is None else set(schema.names)

    def fit(self, names: set[str]) -> bool:
        return self.required <= names and (self.known is None or names <= self.known)


def _damage(source: Path | bytes, place: Place, columns: _Columns) -> str:
    seal = read_seal(source)
    if seal is not None:
        if not seal.fits:
            return "its checksum differs"
        if seal.place is not None:
            return place.unlike(seal.place)
    # From an earlier release, or a key of the seal is damaged.
    try:
        opened = pa.BufferReader(source) if isinstance(source, bytes) else source
        with pq.ParquetFile(opened, page_checksum_verification=True) as file:
            names = set(file.schema_arrow.names)
            for _ in file.iter_batches() if seal is None else ():
                pass
    except FileNotFoundError:
        raise
    except Exception as error:  # A parser may raise anything on corrupted bytes.
        if isinstance(error, OSError) and error.errno is not None:
            raise  # An error of the disk, not of the file.
        return f"it cannot be read: {error_text(error).splitlines()[0]}"
    return "" if columns.fit(names) else "its columns do not match the table"


def _is_copy_alone(folder: Tables, part: Part) -> bool:
    """Whether only the local copy of an object is damaged; if so, the copy is deleted."""
    if not isinstance(part.origin, StorePath):
        return False
    try:
        content = part.origin.read_bytes()
    except FileNotFoundError:
        return True
    table = part.path.parent.name
    columns = _Columns(table, folder.stored_schema(table))
    whole = not _damage(content, folder.place(table, part.path.stem), columns)
    if whole:
        part.path.unlink(missing_ok=True)
    return whole
