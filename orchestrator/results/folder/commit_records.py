"""Commit records: a snapshot counts once the record beside it exists.

``snapshots/<trial_id>/<step>.json`` contains the snapshot's whole row of ``checkpoints`` and is
written after ``<step>.safetensors``. Snapshots are thus known before the part with their rows is
stored.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestrator.errors import ResultsError
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.folder.stored_json import parse_sealed, sealed_json
from orchestrator.results.store.atomic import SETTLED_NANOSECONDS, write_atomically
from orchestrator.results.store.mirror import Mirror
from orchestrator.results.store.store_path import Location

logger = logging.getLogger(__name__)

MANY_TRIALS = 100  # For more trials, one listing of a store's snapshots replaces one per trial.


@dataclass
class _TrialSnapshots:
    """The last known content of one trial's snapshot folder."""

    modified: int = -1
    settled: bool = False
    rows: dict[str, tuple[tuple[int, int], dict[str, Any] | None]] = field(default_factory=dict)

    def sorted_rows(self, without: Container[str]) -> list[dict[str, Any]]:
        """Return the rows that could be read, by step."""
        read = (row for _, row in list(self.rows.values()) if row is not None)
        rows = [row for row in read if row["checkpoint_id"] not in without]
        return sorted(rows, key=lambda row: int(row["step"]))


def commit_snapshot(folder: ResultsFolder, row: Mapping[str, Any]) -> Location:
    """Record that a snapshot is complete.

    Args:
        folder: The study's results.
        row: Its row of ``checkpoints``, with all columns.

    Returns:
        The record, beside the snapshot.

    Raises:
        ResultsError: If the snapshot's file is missing or the row's columns are not those of
            ``checkpoints``.
    """
    schema = folder.schema("checkpoints")
    if set(row) != set(schema.names):
        differing = ", ".join(sorted(set(row) ^ set(schema.names)))
        raise ResultsError(
            f"a snapshot record must have the columns of checkpoints, but differs in {differing}"
        )
    snapshot = folder.snapshot(row["trial_id"], row["step"])
    if not snapshot.is_file():
        raise ResultsError(f"{snapshot}: missing; write a snapshot before recording it")
    record = snapshot.with_suffix(".json")
    write_atomically(record, sealed_json(row, indent=None, default=_encode))
    return record


def snapshot_id(trial_id: str, step: int | str) -> str:
    """Return the ``checkpoint_id`` of a trial's snapshot."""
    return f"{trial_id}-{step}"


def committed_snapshots(
    folder: ResultsFolder,
    trial_ids: Collection[str] | None = None,
    without: Container[str] = (),
) -> list[dict[str, Any]]:
    """Return the rows of all committed snapshots, ordered by trial and step.

    ``folder`` caches the records read, so a repeated call costs one ``stat`` per trial, or one
    request per thousand files in an object store. A record that cannot be read, or whose snapshot
    is gone, does not count.

    Args:
        folder: The study's results.
        trial_ids: Trials to include; by default all.
        without: Ids of snapshots to leave out; their records are not read.
    """
    if folder.mirror is not None:
        return _on_store(folder, folder.mirror, trial_ids, without)
    snapshots = Path(str(folder.snapshots))
    if trial_ids is None:
        if not snapshots.is_dir():
            return []
        trial_ids = [entry.name for entry in os.scandir(snapshots) if entry.is_dir()]
    rows = [row for id_ in sorted(trial_ids) for row in _rows_of(folder, snapshots / id_, without)]
    return [dict(row) for row in rows]


def unreadable_records(folder: ResultsFolder) -> list[tuple[str, int]]:
    """Return trial and step of records :func:`committed_snapshots` could not read, in order.

    Args:
        folder: The object passed to :func:`committed_snapshots`, which caches these records.
    """
    return sorted(
        (trial_id, int(name.partition(".")[0]))
        for trial_id, known in folder.snapshot_cache.items()
        for name, (_, row) in known.rows.items()
        if row is None and name.partition(".")[0].isdigit()
    )


def listed_snapshots(folder: ResultsFolder) -> list[str]:
    """Return the ids of snapshots that have a record, in order, without reading the records.

    Args:
        folder: The study's results.
    """
    found: set[tuple[str, str]] = set()
    if folder.mirror is not None:
        objects = (folder.mirror.origin / folder.snapshots.name).objects(recursive=True)
        found = {(path.parent.name, path.name) for path in objects}
    elif (snapshots := Path(str(folder.snapshots))).is_dir():
        for directory in os.scandir(snapshots):
            if directory.is_dir():
                found |= {(directory.name, entry.name) for entry in os.scandir(directory)}
    return sorted(
        snapshot_id(trial_id, stem)
        for trial_id, name in found
        for stem, suffix in [os.path.splitext(name)]
        if suffix == ".json" and stem.isdigit() and (trial_id, f"{stem}.safetensors") in found
    )


def _on_store(
    folder: ResultsFolder,
    mirror: Mirror,
    trial_ids: Collection[str] | None,
    without: Container[str],
) -> list[dict[str, Any]]:
    there: dict[str, dict[str, Path]] = defaultdict(dict)
    snapshots = mirror.origin / folder.snapshots.name
    if trial_ids is None or len(trial_ids) > MANY_TRIALS:
        found = mirror.pull([snapshots], "*.json", recursive=True)
    else:
        found = mirror.pull([snapshots / trial_id for trial_id in trial_ids], "*.json")
    for path in found:
        there[path.parent.name][path.name] = mirror.copy_of(path)
    rows = []
    for trial_id in sorted(there if trial_ids is None else there.keys() & set(trial_ids)):
        known: _TrialSnapshots = folder.snapshot_cache.setdefault(trial_id, _TrialSnapshots())
        _read_records(there[trial_id], known, folder.schema("checkpoints"), without)
        rows += known.sorted_rows(without)
    return [dict(row) for row in rows]


def _rows_of(
    folder: ResultsFolder, directory: Path, without: Container[str]
) -> list[dict[str, Any]]:
    try:
        modified = directory.stat().st_mtime_ns
    except FileNotFoundError:
        return []
    known: _TrialSnapshots = folder.snapshot_cache.setdefault(directory.name, _TrialSnapshots())
    if not (known.settled and known.modified == modified):
        known.settled = time.time_ns() - modified > SETTLED_NANOSECONDS
        known.modified = modified
        entries = {entry.name: entry for entry in os.scandir(directory)}
        if _read_records(entries, known, folder.schema("checkpoints"), without):
            known.settled = False  # A later call may leave out fewer: list again.
    return known.sorted_rows(without)


def _read_records(
    entries: Mapping[str, os.DirEntry[str] | Path],
    known: _TrialSnapshots,
    schema: pa.Schema,
    without: Container[str],
) -> int:
    """Read the new records of one trial, and return the number of records left out."""
    left_out = 0
    for name in known.rows.keys() - entries.keys():
        del known.rows[name]
    for name, entry in entries.items():
        stem, dot, suffix = name.rpartition(".")
        if not dot or suffix != "json" or name.startswith("."):
            continue
        if f"{stem}.safetensors" not in entries:
            known.rows.pop(name, None)
            continue
        if name not in known.rows and snapshot_id(Path(entry).parent.name, stem) in without:
            left_out += 1
            continue
        stat = entry.stat()
        version = (stat.st_ino, stat.st_mtime_ns)
        if name not in known.rows or known.rows[name][0] != version:
            known.rows[name] = (version, _read_record(Path(entry), schema))
    return left_out


def _read_record(path: Path, schema: pa.Schema) -> dict[str, Any] | None:
    try:
        row = parse_sealed(path.read_bytes())
        _check_identity(row, path)
        unknown = sorted(row.keys() - set(schema.names))
        if unknown:
            raise ValueError(f"unknown column {unknown[0]!r}")
        written = {f.name for f in schema if pa.types.is_timestamp(f.type)}
        return {
            name: datetime.fromisoformat(value) if name in written else value
            for name, value in row.items()
        }
    except (OSError, LookupError, ValueError, AttributeError, TypeError, RecursionError) as error:
        logger.warning("%s: not a valid snapshot record, left out (%s)", path, error)
        return None


def _check_identity(row: Mapping[str, Any], path: Path) -> None:
    """Check that a record refers to its own snapshot and to no other file."""
    if (row["trial_id"], row["step"]) != (path.parent.name, int(path.stem)):
        raise ValueError(f"belongs to step {row['step']} of trial {row['trial_id']}")
    for column in ("checkpoint_id", "path", "sha256"):
        if not isinstance(row[column], str):
            raise TypeError(f"{column} is a {type(row[column]).__name__}")
    if Path(row["path"]).is_absolute() or ".." in Path(row["path"]).parts:
        raise ValueError(f"{row['path']} is outside the results")


def _encode(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a snapshot record")
