"""Turns many parts of a table into one sorted file.

At every moment, and after a crash at any, each fact is stored at least once: the new file appears
after its rows were read back, and only then are the parts removed.
"""

# ruff: noqa: S608 - all names in the SQL are this package's own; paths are quoted.

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestrator.errors import error_text
from orchestrator.results.database.connection import connect_to_parts
from orchestrator.results.database.several_folders import Result
from orchestrator.results.database.table_views import quote
from orchestrator.results.folder.parts import Part, whole_parts
from orchestrator.results.folder.place import compaction_number
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.folder.writer import COMPRESSION, COMPRESSION_LEVEL, ROW_GROUP_SIZE
from orchestrator.results.store.atomic import TEMPORARY_SUFFIX, replacing, sync_directory
from orchestrator.results.store.checksum import BLANK, KEY, PLACE, Seal, read_seal, seal
from orchestrator.results.store.disk_space import refused
from orchestrator.results.store.mirror import CONNECTIONS
from orchestrator.results.store.store_path import Location, StorePath
from orchestrator.results.table_schemas import KEYS, SCHEMA_VERSION

logger = logging.getLogger(__name__)

MEMORY_LIMIT = "2GB"
SPILL_DIRECTORY = f".compaction{TEMPORARY_SUFFIX}"


@dataclass(frozen=True)
class Compacted:
    """What was done to one table.

    Attributes:
        table: Which.
        parts: Files that were merged.
        path: The file they became.
    """

    table: str
    parts: int
    path: Location


class _Different(Exception):
    """What was written is not what was to be written."""


def compact(path: Result, *, least_parts: int = 2) -> list[Compacted]:
    """Merge the parts of every table that has at least ``least_parts`` files.

    Facts stored more than once are kept once, as the views show them. Queries that are running
    meanwhile may fail and have to be repeated; those that start meanwhile are right.

    Args:
        path: The results folder. Whoever holds its lock passes the :class:`ResultsFolder`.
        least_parts: Fewer files are left as they are.

    Returns:
        What was done, table by table.

    Raises:
        ResultsError: If there are no results, another process works on them, or parts are damaged.
        StorageError: If the disk takes no more; every part is still there then.
    """
    folder = path if isinstance(path, ResultsFolder) else ResultsFolder.open(path)
    with folder.lock():
        folder.look()
        parts = whole_parts(folder)
        with connect_to_parts(folder, parts) as database:
            # Sorting beyond that goes to disk, here, for /tmp may be small or memory itself; it is
            # no slower, and whatever else runs keeps its memory.
            database.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
            database.execute(f"SET temp_directory = {quote(folder.here / SPILL_DIRECTORY)}")
            try:
                done = [
                    _compact_table(database, folder, table, parts[table])
                    for table in KEYS
                    if len(parts[table]) >= max(least_parts, 2)
                ]
            except duckdb.IOException as error:
                raise refused(folder.path, error_text(error).splitlines()[0]) from error
    return [compacted for compacted in done if compacted is not None]


def _compact_table(
    database: duckdb.DuckDBPyConnection, folder: ResultsFolder, table: str, parts: list[Part]
) -> Compacted | None:
    number = max(compaction_number(part.path) for part in parts) + 1
    target = folder.table(table) / f"compact-{number}.parquet"
    place = str(folder.place(table, target.stem))
    read = {part.origin: _version(part.origin, part.stat) for part in parts}
    try:
        with replacing(target) as temporary:
            database.execute(
                f"COPY (FROM parts.{table}_latest ORDER BY {', '.join(KEYS[table].sort)}) "
                f"TO {quote(temporary)} (FORMAT parquet, COMPRESSION {COMPRESSION}, "
                f"COMPRESSION_LEVEL {COMPRESSION_LEVEL}, ROW_GROUP_SIZE {ROW_GROUP_SIZE}, "
                f"KV_METADATA {{schema_version: '{SCHEMA_VERSION}', {PLACE}: {quote(place)}, "
                f"{KEY}: '{BLANK.decode()}'}})"
            )
            seal(temporary)
            if read_seal(temporary) != Seal(True, place) or not _same(database, table, temporary):
                raise _Different
    except _Different:
        if all(_is_still(part, version) for part, version in read.items()):
            why = "its rows read back as something else; all parts are kept"
            raise refused(target, why) from None
        logger.info("parts of %s were written again meanwhile; all are kept", table)
        return None
    remove_unchanged(read)
    sync_directory(target.parent)
    return Compacted(table, len(read), target)


def _same(database: duckdb.DuckDBPyConnection, table: str, written: Path) -> bool:
    """Whether a file has the rows of the table, and some of every group that the parts have."""
    rows, group = f"read_parquet({quote(written)})", KEYS[table].group
    content = [
        database.execute(f"SELECT count(*), sum(hash(stored)) FROM {source} AS stored").fetchone()
        for source in (f"parts.{table}_latest", rows)
    ]
    lacking = database.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT {group} FROM parts.{table}) "
        f"ANTI JOIN {rows} USING ({group})"
    ).fetchone()
    return content[0] == content[1] and lacking == (0,)


def remove_unchanged(read: Mapping[Location, tuple[int, int]]) -> None:
    """Remove the parts that were read, except any that has been replaced since.

    Args:
        read: The version of each part as it was read.
    """

    def remove(part: Location) -> None:
        if _is_still(part, read[part]):
            part.unlink()
        else:
            logger.info("%s was written again meanwhile and is kept", part)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(remove, read):
            pass


def _is_still(part: Location, version: tuple[int, int]) -> bool:
    return _version(part, part.stat()) == version


def _version(part: Location, stat: Any) -> tuple[int, int]:
    """What tells a part from one that replaced it; of a copy, what it shares with its object."""
    return (stat.st_size if isinstance(part, StorePath) else stat.st_ino), stat.st_mtime_ns
