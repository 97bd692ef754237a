"""Files that are not what was written: found by their checksums, and kept aside.

Nothing damaged is deleted. It is moved to the folder ``damaged`` of the results, so that what it
held is missing, and the next look of a run makes it again.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import ResultsError
from orchestrator.results.atomic import sync_directory
from orchestrator.results.folder import ResultsFolder
from orchestrator.results.schema import TABLES
from orchestrator.results.seal import seal_fits
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
    """Move the parts that are not as they were written out of the way.

    To be called while the folder's lock is held.

    Returns:
        Where they are now.
    """
    moved = (set_aside(folder, part) for part in damaged_parts(folder))
    return [aside for aside in moved if aside is not None]


def damaged_parts(folder: ResultsFolder) -> list[Location]:
    """The parts that are not as they were written, by the checksums in them."""
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


def refuse_damaged(folder: ResultsFolder, error: BaseException | None = None) -> None:
    """Make sure that what is read is what was written.

    Args:
        folder: The study's results.
        error: What reading them ended with, if it did.

    Raises:
        ResultsError: If parts are damaged.
    """
    damaged = damaged_parts(folder)
    if damaged:
        raise ResultsError(
            f"{damaged[0]}: damaged"
            + (f", as are {len(damaged) - 1} other parts" if len(damaged) > 1 else ""),
            "run the study again: it keeps what is damaged aside, and makes again what is lost",
        ) from error


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
    whole = _is_whole(content)
    if whole:
        copy.unlink()
    return whole


def _is_whole(part: Path | bytes) -> bool:
    try:
        fits = seal_fits(part)
        if fits is not None:
            return fits
        # Of an earlier release, or a seal whose name is damaged: its pages have checksums, too.
        source = pa.BufferReader(part) if isinstance(part, bytes) else part
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
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
