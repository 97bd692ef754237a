"""Each snapshot is told once, and trials that take no more are not looked at again."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.results import NewSnapshots, ResultsFolder, committed_snapshots
from orchestrator.results.folder import new_snapshots as module
from tests.results.conftest import study_json
from tests.results.folder.test_commit_records import take


@pytest.fixture(params=["on a disk", "on a store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> ResultsFolder:
    on_disk = request.param == "on a disk"
    place = tmp_path / "small" if on_disk else request.getfixturevalue("store_url")
    return ResultsFolder.create(place, study_json(), "study: small\n", {"command": ["run"]}, "")


def test_each_snapshot_is_returned_once(folder: ResultsFolder) -> None:
    new = NewSnapshots(folder, {"a", "b", "c"})
    assert new.poll(set()) == []
    rows = [take(folder, "a", 1), take(folder, "a", 2), take(folder, "b", 1)]
    take(folder, "of another study", 1)
    assert new.poll(set()) == rows
    assert new.poll(set()) == []
    later = take(folder, "a", 3)
    assert new.poll(set()) == [later]


def test_snapshots_taken_before_a_trial_ended_are_found(folder: ResultsFolder) -> None:
    new = NewSnapshots(folder, {"a"})
    row = take(folder, "a", 1)
    # It ended and took its last snapshot between two looks.
    assert new.poll({"a"}) == [row]


def test_a_missing_folder_of_snapshots_is_empty(folder: ResultsFolder) -> None:
    if isinstance(folder.snapshots, Path):
        folder.snapshots.rmdir()
    assert NewSnapshots(folder, {"a"}).poll({"a"}) == []


def test_ended_trials_are_not_polled_again(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[set[str]] = []

    def noting(folder: ResultsFolder, trial_ids: set[str], without: set[str]) -> object:
        looked_at.append(set(trial_ids))
        return committed_snapshots(folder, trial_ids, without)

    monkeypatch.setattr(module, "committed_snapshots", noting)
    for trial_id in "abc":
        take(folder, trial_id, 1)
    new = NewSnapshots(folder, {"a", "b", "c", "not begun"})
    for ended in (set("a"), set("ab"), set("abc"), set()):
        new.poll(ended)
    assert looked_at == [set("abc"), set("bc"), set("c"), set()]


def test_known_snapshots_are_not_returned(folder: ResultsFolder) -> None:
    take(folder, "a", 1)
    row = take(folder, "a", 2)
    assert NewSnapshots(folder, {"a"}, known={"a-1"}).poll(set()) == [row]
