"""Turns many parts of a table into one sorted file.

At every moment, and after a crash at any, each fact is stored at least once: first the new
file appears, then the parts whose rows it holds go.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb

from orchestrator.results.atomic import TEMPORARY_SUFFIX, replacing, sync_directory
from orchestrator.results.damage import refuse_damaged
from orchestrator.results.database import connect
from orchestrator.results.folder import SCHEMA_FILE, ResultsFolder
from orchestrator.results.mirror import CONNECTIONS
from orchestrator.results.schema import KEYS, SCHEMA_VERSION
from orchestrator.results.seal import BLANK, KEY, seal
from orchestrator.results.several import Result
from orchestrator.results.storage import refused
from orchestrator.results.store_path import Location, StorePath
from orchestrator.results.tables import compaction_number, quote
from orchestrator.results.writer import COMPRESSION, COMPRESSION_LEVEL, ROW_GROUP_SIZE

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
    with folder.lock(), connect(folder, measure_columns=False) as database:
        # Sorting beyond that goes to disk, here, for /tmp may be small or memory itself; it is
        # no slower, and whatever else runs keeps its memory.
        database.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        database.execute(f"SET temp_directory = {quote(folder.here / SPILL_DIRECTORY)}")
        try:
            done = (_compact_table(database, folder, table, least_parts) for table in KEYS)
            return [compacted for compacted in done if compacted is not None]
        except duckdb.IOException as error:
            raise refused(folder.path, str(error).partition("\n")[0]) from error
        except duckdb.Error as error:
            refuse_damaged(folder, error)
            raise


def _compact_table(
    database: duckdb.DuckDBPyConnection, folder: ResultsFolder, table: str, least_parts: int
) -> Compacted | None:
    directory, readable = folder.table(table), folder.readable(table)
    # Before the rows are read: what comes or changes later is not this compaction's to remove.
    read = {
        directory / part.name: _version(part, is_copy=folder.mirror is not None)
        for part in readable.glob("[!.]*.parquet")
        if part.name != SCHEMA_FILE
    }
    if len(read) < max(least_parts, 2):
        return None
    target = directory / f"compact-{max(map(compaction_number, read)) + 1}.parquet"
    with replacing(target) as temporary:
        database.execute(
            f"COPY (FROM parts.{table}_latest ORDER BY {', '.join(KEYS[table].sort)}) "
            f"TO {quote(temporary)} (FORMAT parquet, COMPRESSION {COMPRESSION}, "
            f"COMPRESSION_LEVEL {COMPRESSION_LEVEL}, ROW_GROUP_SIZE {ROW_GROUP_SIZE}, "
            f"KV_METADATA {{schema_version: '{SCHEMA_VERSION}', {KEY}: '{BLANK.decode()}'}})"
        )
        seal(temporary)
    remove_unchanged(read)
    sync_directory(directory)
    return Compacted(table, len(read), target)


def remove_unchanged(read: dict[Location, tuple[int, int]]) -> None:
    """Remove the parts that were read, except any that has been replaced since.

    Args:
        read: The version of each part as it was read.
    """

    def remove(part: Location) -> None:
        if _version(part) == read[part]:
            part.unlink()
        else:
            logger.info("%s was written again meanwhile and is kept", part)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(remove, read):
            pass


def _version(part: Location, *, is_copy: bool = False) -> tuple[int, int]:
    """What tells a part from one that replaced it; of a copy, what it shares with its object."""
    stat: Any = part.stat()
    on_store = is_copy or isinstance(part, StorePath)
    return (stat.st_size if on_store else stat.st_ino), stat.st_mtime_ns
