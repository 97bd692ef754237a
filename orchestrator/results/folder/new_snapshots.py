"""Polling for new snapshots, at a cost that grows only with the trials that may have some."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from orchestrator.results.folder.commit_records import committed_snapshots
from orchestrator.results.folder.results_folder import ResultsFolder


class NewSnapshots:
    """Reports each committed snapshot once.

    A poll lists the trials that have started, and the snapshots of each of these that may take
    more. So polling a grid of ten thousand trials is as fast as polling a small one.

    Args:
        folder: The study's results.
        trial_ids: Trials to poll.
        known: Ids of snapshots that are never reported.
    """

    def __init__(
        self, folder: ResultsFolder, trial_ids: Collection[str], known: Collection[str] = ()
    ) -> None:
        self._folder = folder
        self._open = set(trial_ids)
        self._told = set(known)

    def poll(self, ended: Collection[str]) -> list[dict[str, Any]]:
        """Return the rows of snapshots committed since the last poll, by trial and step.

        Args:
            ended: Trials that took their last snapshot before this call; they are polled one last
                time.
        """
        begun = self._open & self._begun()
        rows = committed_snapshots(self._folder, begun, without=self._told)
        self._told.update(row["checkpoint_id"] for row in rows)
        for trial_id in self._open.intersection(ended):
            self._open.discard(trial_id)
            self._folder.snapshot_cache.pop(trial_id, None)  # Frees memory in large studies.
        return rows

    def _begun(self) -> set[str]:
        snapshots = self._folder.snapshots
        if not isinstance(snapshots, Path):
            return {folder.name for folder in snapshots.iterdir()}
        try:
            return {entry.name for entry in os.scandir(snapshots)}
        except FileNotFoundError:
            return set()
