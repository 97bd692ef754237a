"""Damaged files: detected by their checksums and set aside.

Damaged files are never deleted. They are moved to the folder ``damaged`` of the results, so the
next run finds their content missing and recomputes it.
"""

from __future__ import annotations

import uuid

from orchestrator.results.folder.commit_records import unreadable_records
from orchestrator.results.folder.parts import damaged_parts
from orchestrator.results.folder.place import compaction_number
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.store.atomic import sync_directory
from orchestrator.results.store.store_path import Location


def set_aside(folder: ResultsFolder, path: Location) -> Location | None:
    """Move a damaged file of the results to ``damaged``.

    Args:
        folder: The study's results.
        path: The file, anywhere in ``folder``.

    Returns:
        The new path; None if the file did not exist.
    """
    name = "-".join(path.parts[len(folder.path.parts) :])
    aside = folder.damaged / f"{uuid.uuid4().hex[:8]}-{name}"
    folder.damaged.mkdir(exist_ok=True)
    try:
        path.replace(aside)  # type: ignore[arg-type]  # Both on disk or both in a store.
    except FileNotFoundError:
        return None
    sync_directory(path.parent)
    return aside


def set_aside_snapshot(folder: ResultsFolder, trial_id: str, step: int) -> None:
    """Set a damaged snapshot and its record aside; the snapshot must be retaken."""
    snapshot = folder.snapshot(trial_id, step)
    # The record first: without it, the snapshot counts as not taken.
    set_aside(folder, snapshot.with_suffix(".json"))
    set_aside(folder, snapshot)


def set_aside_damaged_parts(folder: ResultsFolder) -> list[Location]:
    """Set aside the parts that are damaged or not in their own place.

    The caller must have the folder's lock. The table ``measures`` decides whether a snapshot
    counts as measured, and its curves are in a part of the same name. So a damaged part of
    ``curves`` takes the part of ``measures`` with it.

    Returns:
        The new paths.
    """
    damaged = damaged_parts(folder)
    measured = [
        folder.table("measures") / part.name
        for part in damaged
        if part.parent.name == "curves" and not compaction_number(part)
    ]
    moved = (set_aside(folder, part) for part in dict.fromkeys([*measured, *damaged]))
    return [aside for aside in moved if aside is not None]


def set_aside_unreadable_records(folder: ResultsFolder) -> None:
    """Set aside the records that could not be read, with their snapshots.

    These are the records that the last call of ``committed_snapshots`` could not read. The caller
    must have the folder's lock.
    """
    for trial_id, step in unreadable_records(folder):
        set_aside_snapshot(folder, trial_id, step)


def damaged_files(folder: ResultsFolder) -> set[Location]:
    """Return the files set aside so far."""
    return set(folder.damaged.iterdir()) if folder.damaged.is_dir() else set()
