"""Files that are not what was written: found by their checksums, and kept aside.

Nothing damaged is deleted. It is moved to the folder ``damaged`` of the results, so that what it
held is missing, and the next look of a run makes it again.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.results.atomic import sync_directory
from orchestrator.results.folder import ResultsFolder
from orchestrator.results.schema import TABLES
from orchestrator.results.store_path import Location, StorePath


def set_aside(folder: ResultsFolder, path: Location) -> Location | None:
    """Move a damaged file of the results out of the way.

    Args:
        folder: The study's results.
        path: The file, somewhere in it.

    Returns:
        Where it is now; None if it was not there.
    """
    name = "-".join(path.parts[len(folder.path.parts) :])
    aside = folder.damaged / f"{uuid.uuid4().hex[:8]}-{name}"
    folder.damaged.mkdir(exist_ok=True)
    try:
        path.rename(aside)  # type: ignore[arg-type]  # Both on a disk, or both on a store.
    except FileNotFoundError:
        return None
    sync_directory(path.parent)
    return aside


def set_aside_snapshot(folder: ResultsFolder, trial_id: str, step: int) -> None:
    """Move a damaged snapshot and its record out of the way: it has to be taken again."""
    snapshot = folder.snapshot(trial_id, step)
    # The record first: without it the snapshot counts as not taken.
    set_aside(folder, snapshot.with_suffix(".json"))
    set_aside(folder, snapshot)


def set_aside_damaged_parts(folder: ResultsFolder) -> list[Location]:
    """Move the parts that can't be read in full out of the way.

    To be called while the folder's lock is held. Pages are compared with the checksums that
    they were written with.

    Returns:
        Where they are now.
    """
    moved = (set_aside(folder, part) for part in damaged_parts(folder))
    return [aside for aside in moved if aside is not None]


def damaged_parts(folder: ResultsFolder) -> list[Location]:
    """The parts that can't be read in full."""
    folder.look()
    return sorted(
        (
            folder.table(table) / part.name
            for table in TABLES
            for part in folder.readable(table).glob("[!._]*.parquet")
            if not _is_whole(part) and not _is_whole_in_store(folder.table(table) / part.name, part)
        ),
        key=str,
    )


def damaged_files(folder: ResultsFolder) -> set[Location]:
    """What was set aside so far."""
    return set(folder.damaged.iterdir()) if folder.damaged.is_dir() else set()


def _is_whole_in_store(part: Location, copy: Path) -> bool:
    """Whether only this machine's copy of a part is damaged; it is thrown away then."""
    if not isinstance(part, StorePath):
        return False
    try:
        content = part.read_bytes()
    except FileNotFoundError:
        return True
    whole = _is_whole(pa.BufferReader(content))
    if whole:
        copy.unlink()
    return whole


def _is_whole(part: Any) -> bool:
    try:
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            for _ in file.iter_batches():
                pass
    except FileNotFoundError:  # A compaction removed it.
        return True
    except pa.ArrowException:
        return False
    except OSError as error:
        if error.errno is not None:  # The disk's, not the file's.
            raise
        return False
    return True
