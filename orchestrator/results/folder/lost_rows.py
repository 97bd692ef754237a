"""Restores rows that were lost with a part, where that needs no computation."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from orchestrator.results.folder.commit_records import committed_snapshots
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.folder.writer import write_part


def restore_checkpoints(
    folder: ResultsFolder, trial_ids: Collection[str], known: Collection[str]
) -> int:
    """Store the checkpoint rows that only the commit records still contain.

    Args:
        folder: The study's results, locked.
        trial_ids: Trials that have ended, so that all their rows were stored once.
        known: Ids of the checkpoints that are in the table.

    Returns:
        The number of rows stored.
    """
    rows = committed_snapshots(folder, trial_ids, without=known)
    ids = "\n".join(row["checkpoint_id"] for row in rows)
    digest = hashlib.sha256(ids.encode()).hexdigest()[:8]
    write_part(folder, "checkpoints", rows, f"restored-{digest}")
    return len(rows)
