from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import (
    ResultsFolder,
    commit_snapshot,
    committed_snapshots,
    listed_snapshots,
    write_part,
)
from orchestrator.results.folder import commit_records as module
from tests.results.conftest import checkpoint_row


def take(folder: ResultsFolder, trial_id: str, step: int, **columns: Any) -> dict[str, Any]:
    row = checkpoint_row("a0", step, **columns) | {
        "trial_id": trial_id,
        "checkpoint_id": f"{trial_id}-{step}",
    }
    folder.snapshot(trial_id, step).parent.mkdir(exist_ok=True)
    folder.snapshot(trial_id, step).write_bytes(b"weights!")
    commit_snapshot(folder, row)
    return row


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders count as settled at once."""
    monkeypatch.setattr(module, "SETTLED_NANOSECONDS", -1)


def test_committed_snapshots_are_read_as_written(folder: ResultsFolder) -> None:
    rows = [
        take(folder, "b", 9, milestones=[0.5, 0.1]),
        take(folder, "a", 100),
        take(folder, "a", 20, test_loss=math.inf, train_loss=None),
    ]
    assert committed_snapshots(folder) == [rows[2], rows[1], rows[0]]
    assert committed_snapshots(folder, {"b", "c"}) == [rows[0]]
    assert write_part(folder, "checkpoints", committed_snapshots(folder), "again") is not None


def test_nan_survives_in_a_commit_record(folder: ResultsFolder) -> None:
    take(folder, "a", 1, test_loss=math.nan)
    (row,) = committed_snapshots(folder)
    assert math.isnan(row["test_loss"])


def test_a_folder_without_snapshots_has_none_committed(folder: ResultsFolder) -> None:
    assert committed_snapshots(folder) == []
    folder.snapshots.rmdir()
    assert committed_snapshots(folder) == []


def test_a_snapshot_counts_only_with_its_record_and_vice_versa(
    folder: ResultsFolder,
) -> None:
    row = take(folder, "a", 1)
    folder.snapshot("a", 2).write_bytes(b"no record yet")
    take(folder, "a", 3)
    folder.snapshot("a", 3).unlink()
    assert committed_snapshots(folder) == [row]


def test_a_record_is_refused_before_its_snapshot_or_if_incomplete(folder: ResultsFolder) -> None:
    row = checkpoint_row("a0", 10)
    with pytest.raises(ResultsError, match="missing; write a snapshot before recording"):
        commit_snapshot(folder, row)
    take(folder, "a0", 10)
    for wrong in ({k: v for k, v in row.items() if k != "sha256"}, row | {"more": 1}):
        with pytest.raises(ResultsError, match=r"sha256|more"):
            commit_snapshot(folder, wrong)


def test_an_unreadable_record_does_not_count(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    row = take(folder, "a", 1)
    texts = ["{", "[1]", "{}", "[" * 5000, "\0", json.dumps({"written_at": "noon"})]
    for step, text in enumerate(texts, 2):
        take(folder, "a", step)
        folder.snapshot("a", step).with_suffix(".json").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert committed_snapshots(folder) == [row]
    assert len(caplog.records) == len(texts)


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/etc/passwd"},
        {"path": "snapshots/../../other/1.safetensors"},
        {"path": None},
        {"trial_id": "b"},
        {"step": 2},
        {"step": "1"},
        {"sha256": None},
        {"checkpoint_id": 7},
        {"written_at": "noon"},
        {"written_at": 3},
    ],
)
def test_a_record_that_points_elsewhere_does_not_count(
    folder: ResultsFolder, change: dict[str, Any]
) -> None:
    take(folder, "a", 1)
    record = folder.snapshot("a", 1).with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    assert committed_snapshots(folder) == []


def records_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trial and step of each record that is read from now on."""
    read: list[str] = []
    original = Path.read_bytes

    def noting(path: Path) -> bytes:
        if path.suffix == ".json":
            read.append(f"{path.parent.name}-{path.stem}")
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", noting)
    return read


@pytest.mark.usefixtures("settled")
def test_records_are_read_only_once(folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    read = records_read(monkeypatch)
    rows = [take(folder, "a", 1), take(folder, "b", 1)]
    assert committed_snapshots(folder) == rows
    assert sorted(read) == ["a-1", "b-1"]
    read.clear()
    rows.insert(1, take(folder, "a", 2))
    assert committed_snapshots(folder) == rows
    assert committed_snapshots(folder) == rows
    assert read == ["a-2"]


@pytest.mark.usefixtures("settled")
def test_a_rewritten_or_removed_snapshot_is_noticed(folder: ResultsFolder) -> None:
    take(folder, "a", 1, sha256="old")
    assert committed_snapshots(folder)[0]["sha256"] == "old"
    take(folder, "a", 1, sha256="new")
    assert committed_snapshots(folder)[0]["sha256"] == "new"
    folder.snapshot("a", 1).unlink()
    assert committed_snapshots(folder) == []


def test_a_change_within_one_clock_tick_is_noticed(folder: ResultsFolder) -> None:
    first = take(folder, "a", 1)
    assert committed_snapshots(folder) == [first]
    directory = folder.snapshots / "a"
    times = directory.stat()
    second = take(folder, "a", 2)
    os.utime(directory, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert committed_snapshots(folder) == [first, second]


def test_returned_rows_may_be_modified(folder: ResultsFolder) -> None:
    row = take(folder, "a", 1)
    committed_snapshots(folder)[0].clear()
    assert committed_snapshots(folder) == [row]


def test_records_are_plain_json(folder: ResultsFolder) -> None:
    take(folder, "a", 1)
    record = json.loads(folder.snapshot("a", 1).with_suffix(".json").read_text())
    assert record["checkpoint_id"] == "a-1"
    assert record["written_at"] == "2026-11-01T12:04:00+00:00"


def test_excluded_records_are_not_read_but_remain_available(
    folder: ResultsFolder, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = take(folder, "a", 1), take(folder, "a", 2)
    read = records_read(monkeypatch)
    assert committed_snapshots(folder, without={"a-1"}) == [second]
    assert read == ["a-2"]
    assert committed_snapshots(folder) == [first, second]
    assert committed_snapshots(folder, without={"a-1"}) == [second]
    assert sorted(read) == ["a-1", "a-2"]


def test_only_snapshots_with_a_record_and_weights_are_listed(folder: ResultsFolder) -> None:
    assert listed_snapshots(folder) == []
    take(folder, "b", 9)
    take(folder, "a", 100)
    take(folder, "a", 20)
    folder.snapshot("a", 20).unlink()
    folder.snapshot("a", 30).write_bytes(b"not recorded yet")
    (folder.snapshots / "a" / ".40.json.tmp").touch()
    (folder.snapshots / "notes.json").touch()
    assert listed_snapshots(folder) == ["a-100", "b-9"]
    folder.snapshot("a", 100).parent.joinpath("100.json").write_text("damaged")
    assert listed_snapshots(folder) == ["a-100", "b-9"]
