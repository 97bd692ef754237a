from __future__ import annotations

from datetime import UTC

import pytest

import orchestrator
from orchestrator.cluster.backlog import (
    Backlog,
    lost_trials,
    missing_measures,
    read_audited,
    read_backlog,
)
from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, read_study, write_part
from orchestrator.study.trials import expand_trials
from tests.results.conftest import TRIALS, fill, study_json, trial_row


@pytest.fixture
def folder(tmp_path):
    made = ResultsFolder.create(
        tmp_path / "r", study_json(), "study: small\n", {"command": ["run"]}, ""
    )
    rows = [trial_row(trial_id, attempt=2, epochs=2.0, updates=20) for trial_id in TRIALS]
    write_part(made, "trials", rows, "again")
    return fill(made)


def test_nothing_is_read_from_a_damaged_part(folder):
    study = read_study(folder)
    part = folder.readable("measures") / "a0-10-x.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 4
    part.write_bytes(content)
    for read in (read_backlog, read_audited):
        with pytest.raises(ResultsError, match=f"{part}: damaged"):
            read(folder, study)


@pytest.mark.parametrize("lost", ["epochs/a0-20", "checkpoints/a0-20", "checkpoints/early"])
def test_a_trial_of_which_rows_were_lost_is_not_completed(folder, lost):
    study = read_study(folder)
    assert read_backlog(folder, study).completed == set(TRIALS)
    if lost == "checkpoints/early":
        write_part(folder, "checkpoints", last_of(folder, "a0"), "last")
        lost = "checkpoints/a0-20"
    (folder.path / f"{lost}.parquet").unlink()
    backlog = read_backlog(folder, study)
    assert backlog.completed == {"a1", "b0", "b1"}
    assert backlog.ended == set(TRIALS)


def last_of(folder, trial_id):
    with orchestrator.connect(folder.path) as database:
        table = database.sql(f"FROM checkpoints WHERE trial_id = '{trial_id}' AND step = 20")
        rows = table.to_arrow_table().to_pylist()
    return [{**row, "written_at": row["written_at"].replace(tzinfo=UTC)} for row in rows]


def test_trained_networks_are_measured_first(small_study):
    study = orchestrator.load_study(small_study(seeds=1))
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    reasons = ["epoch", "epoch; final", "train_loss 0.1"]
    snapshots = [
        {"trial_id": trial_id, "checkpoint_id": f"{trial_id}-{number}", "reason": reason}
        for trial_id in [*trials, "another study's"]
        for number, reason in enumerate(reasons)
    ]
    work_items = missing_measures(study, trials, Backlog(), snapshots)
    ids = [item.checkpoint["checkpoint_id"] for item in work_items]
    assert ids == [f"{one}-1" for one in trials] + [f"{one}-{n}" for one in trials for n in (0, 2)]
    assert {item.requests for item in work_items} == {tuple(study.requests)}

    measured = Backlog(measured={ids[0]: set(study.requests), ids[1]: {"margin"}})
    first, *_ = missing_measures(study, trials, measured, snapshots)
    assert first.checkpoint["checkpoint_id"] == ids[1]
    assert "margin" not in first.requests


def test_of_early_snapshots_less_may_be_measured(small_study):
    study = orchestrator.load_study(small_study(seeds=1, final_measures=["path_norm"]))
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    trial_id, *_ = trials
    snapshots = [
        {"trial_id": trial_id, "checkpoint_id": f"{trial_id}-{step}", "reason": reason}
        for step, reason in ((1, "epoch"), (2, "epoch; final"))
    ]
    last, first = missing_measures(study, trials, Backlog(), snapshots)
    assert last.requests == (*first.requests, "path_norm")
    assert set(last.requests) == set(study.requests)

    early, final = first.checkpoint_id, last.checkpoint_id
    stored = Backlog(checkpoints=dict.fromkeys((early, final), trial_id), final={final})
    for id_ in (early, final):
        stored.measured[id_] |= set(first.requests)
    assert stored.measured_snapshots(study) == {early}
    assert lost_trials(study, stored, snapshots[:1]) == {trial_id}
    assert lost_trials(study, stored, snapshots[1:]) == set()
