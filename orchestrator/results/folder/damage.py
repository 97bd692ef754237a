"""Files that are not what was written: found by their checksums, and kept aside.

Nothing damaged is deleted. It is moved to the folder ``damaged`` of the results, so that the next
run finds its content missing and recomputes it.
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
    """Move the parts that are not as they were written, or not where, out of the way.

    To be called while the folder's lock is held. Whether a snapshot is measured is read off the
    table ``measures``; its curves are in a part of the same name. So a part of ``measures`` goes
    with that part.

    Returns:
        Where they are now.
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
    """Move the records that could not be read, and their snapshots, out of the way.

    These are the ones that the last look at committed snapshots found. To be called while the
    folder's lock is held.
    """
    for trial_id, step in unreadable_records(folder):
        set_aside_snapshot(folder, trial_id, step)


def damaged_files(folder: ResultsFolder) -> set[Location]:
    """What was set aside so far."""
    return set(folder.damaged.iterdir()) if folder.damaged.is_dir() else set()
