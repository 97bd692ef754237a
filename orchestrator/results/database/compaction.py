"""Merges the parts of a table into one sorted file.

Each fact is stored at least once at every moment, and so after any crash. The new file appears
only after its rows have been read back, and the parts are removed after that.
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
    """The compaction of one table.

    Attributes:
        table: Name of the table.
        parts: Number of files merged.
        path: Path of the merged file.
    """

    table: str
    parts: int
    path: Location


class _Different(Exception):
    """The written rows differ from the rows to be written."""


def compact(path: Result, *, least_parts: int = 2) -> list[Compacted]:
    """Merge the parts of every table that has at least ``least_parts`` files.

    Facts stored more than once are kept once, as the views show them. Queries that are already
    running may fail and must be repeated; queries that start during compaction are correct.

    Args:
        path: The results folder. A caller that has its lock passes the :class:`ResultsFolder`.
        least_parts: Minimum number of files; tables with fewer are left as they are.

    Returns:
        The compactions, table by table.

    Raises:
        ResultsError: If the results do not exist, are in use by another process, or have damaged
            parts.
        StorageError: If the disk is full or refuses writes; all parts are kept then.
    """
    folder = path if isinstance(path, ResultsFolder) else ResultsFolder.open(path)
    with folder.lock():
        folder.refresh()
        parts = whole_parts(folder)
        with connect_to_parts(folder, parts) as database:
            # Larger sorts spill to the results folder, because /tmp may be small or in memory.
            # That is no slower, and leaves memory to other processes.
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
                f"""
                COPY (FROM parts.{table}_latest ORDER BY {", ".join(KEYS[table].sort)})
                TO {quote(temporary)} (
                    FORMAT parquet, COMPRESSION {COMPRESSION},
                    COMPRESSION_LEVEL {COMPRESSION_LEVEL}, ROW_GROUP_SIZE {ROW_GROUP_SIZE},
                    KV_METADATA {{
                        schema_version: '{SCHEMA_VERSION}',
                        {PLACE}: {quote(place)}, {KEY}: '{BLANK.decode()}'
                    }}
                )
                """
            )
            seal(temporary)
            if read_seal(temporary) != Seal(True, place) or not _same(database, table, temporary):
                raise _Different
    except _Different:
        if all(_is_still(part, version) for part, version in read.items()):
            why = "the rows read back differ from those written; all parts are kept"
            raise refused(target, why) from None
        logger.info("parts of %s were rewritten during compaction; all are kept", table)
        return None
    remove_unchanged(read)
    sync_directory(target.parent)
    return Compacted(table, len(read), target)


def _same(database: duckdb.DuckDBPyConnection, table: str, written: Path) -> bool:
    """Whether a file has the rows of the table, and some rows of every group in the parts."""
    rows, group = f"read_parquet({quote(written)})", KEYS[table].group
    content = [
        database.execute(f"SELECT count(*), sum(hash(stored)) FROM {source} AS stored").fetchone()
        for source in (f"parts.{table}_latest", rows)
    ]
    lacking = database.execute(
        f"""
        SELECT count(*) FROM (SELECT DISTINCT {group} FROM parts.{table})
        ANTI JOIN {rows} USING ({group})
        """
    ).fetchone()
    return content[0] == content[1] and lacking == (0,)


def remove_unchanged(read: Mapping[Location, tuple[int, int]]) -> None:
    """Remove the parts that were read, except those replaced since.

    Args:
        read: Version of each part when it was read.
    """

    def remove(part: Location) -> None:
        if _is_still(part, read[part]):
            part.unlink()
        else:
            logger.info("%s was rewritten during compaction and is kept", part)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(remove, read):
            pass


def _is_still(part: Location, version: tuple[int, int]) -> bool:
    return _version(part, part.stat()) == version


def _version(part: Location, stat: Any) -> tuple[int, int]:
    """Return a version that changes if a part is replaced; a copy has that of its object."""
    return (stat.st_size if isinstance(part, StorePath) else stat.st_ino), stat.st_mtime_ns
