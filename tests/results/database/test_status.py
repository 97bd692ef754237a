from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, compact, study_status, write_part
from orchestrator.results.database.status import RequestStatus, status_text
from tests.results.conftest import at, checkpoint_row, fill, measure_row, study_json, trial_row


def test_the_status_of_a_study_without_trials_is_empty(folder: ResultsFolder) -> None:
    status = study_status(folder.path)
    assert (status.study, status.path, status.running) == ("small", folder.path, None)
    assert (status.trials_expected, status.trials_completed) == (4, 0)
    assert (status.snapshots, status.snapshots_pending) == (0, 0)
    assert [request.request for request in status.requests] == ["margin", "hessian_trace"]
    assert status.failures == ()


@pytest.mark.parametrize("compacted", [False, True])
def test_completed_missing_and_failed_work_is_counted(
    filled: ResultsFolder, compacted: bool
) -> None:
    write_part(filled, "trials", [trial_row("b0", attempt=2, status="failed")], "b0-2")
    (filled.table("trials") / "b0-1.parquet").unlink()
    write_part(filled, "trials", [trial_row("b1", attempt=2, status="running")], "b1-2")
    (filled.table("trials") / "b1-1.parquet").unlink()
    trials = [trial_row("a0", trial_id="x", status="failed", error="no\nmore", written_at=at(30))]
    write_part(filled, "trials", trials, "x-1")
    measures = [
        measure_row("a0", 10, "margin_min", None, status="nonfinite", value=float("nan")),
        measure_row(
            "a0", 20, "hessian_trace", None, request="hessian_trace", status="error", error="old"
        ),
        measure_row("b1", 20, "margin", None, status="timeout", error="slow", written_at=at(20)),
        measure_row("b1", 20, "norm", None, request="norms", status="error", written_at=at(1)),
    ]
    write_part(filled, "measures", measures, "more")
    (filled.table("measures") / "a1-10-x.parquet").unlink()
    if compacted:
        compact(filled)
    status = study_status(filled)
    assert (status.trials_completed, status.trials_running, status.trials_failed) == (2, 1, 2)
    assert (status.snapshots, status.snapshots_measured) == (8, 6)
    assert (status.snapshots_failed, status.snapshots_pending) == (1, 1)
    assert status.requests == (
        RequestStatus("margin", ok=5, nonfinite=1, failed=1, missing=1),
        RequestStatus("hessian_trace", ok=7, nonfinite=0, failed=0, missing=1),
    )
    assert [(f.kind, f.name, f.reason) for f in status.failures] == [
        ("trial", "x", "no\nmore"),
        ("measure", "b1-20 margin", "slow"),
        ("trial", "b0", ""),
        ("measure", "b1-20 norms", "error"),
    ]
    assert [f.name for f in study_status(filled, most_failures=1).failures] == ["x"]


def test_snapshots_count_before_their_rows_are_stored(filled: ResultsFolder) -> None:
    (filled.table("checkpoints") / "a0-20.parquet").unlink()
    assert study_status(filled).snapshots == 8


def test_a_running_process_is_named(filled: ResultsFolder) -> None:
    with filled.lock():
        status = study_status(filled.path)
    assert status.running is not None
    assert f"small: process {status.running.pid} on" in status_text(status)


def test_the_status_text_lists_progress_and_failures(filled: ResultsFolder) -> None:
    trial = trial_row("a0", trial_id="x", status="failed", error="it broke\nthere")
    write_part(filled, "trials", [trial], "x-1")
    assert status_text(study_status(filled)).splitlines() == [
        "small: no run is active",
        "trials     4 of 4 completed, 0 interrupted, 1 failed, 0 not started",
        "snapshots  7 of 8 measured, 1 pending, 0 with failures",
        "  margin         7 ok, 0 nonfinite, 0 failed, 1 missing",
        "  hessian_trace  8 ok, 0 nonfinite, 0 failed, 0 missing",
        "failed 2026-11-01 12:05 trial x: it broke",
    ]


def test_a_running_trial_counts_as_running_only_while_a_run_is_active(
    folder: ResultsFolder,
) -> None:
    write_part(folder, "trials", [trial_row("a0", status="running", stop_reason=None)], "a0-1")
    told = "trials     0 of 4 completed, 1 interrupted, 0 failed, 3 not started"
    assert status_text(study_status(folder)).splitlines()[1] == told
    with folder.lock():
        assert "1 running, 0 failed, 3 not started" in status_text(study_status(folder))


def test_the_status_converts_to_json(filled: ResultsFolder) -> None:
    write_part(filled, "trials", [trial_row("a0", trial_id="x", status="failed")], "x-1")
    with filled.lock():
        content = json.loads(json.dumps(study_status(filled).to_dict()))
    assert content["running"]["pid"] > 0
    assert content["requests"][0]["request"] == "margin"
    assert content["failures"][0]["at"] == "2026-11-01T12:05:00Z"


def test_a_study_of_another_version_is_refused(folder: ResultsFolder) -> None:
    folder.resolved.write_text(json.dumps({"study": "small", "novelty": 1}))
    with pytest.raises(ResultsError, match="not a study this version can read"):
        study_status(folder)


def test_a_checkpoint_row_without_its_snapshot_does_not_count(filled: ResultsFolder) -> None:
    # A grid that was changed leaves trials behind; their snapshots are still there.
    row = checkpoint_row("a0", 30)
    write_part(filled, "checkpoints", [row], "a0-30")
    assert study_status(filled).snapshots == 8


def test_custom_components_that_are_not_installed_are_counted(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    study = study_json(
        model={"name": "someones_model", "width": 3},
        measures=[{"name": "margin"}, {"name": "entropy", "temperature": 2.0, "base": "e"}],
        measuring={"dtype": "float32"},
    )
    folder = fill(make_folder(study=study))
    request = 'entropy(base="e", temperature=2.0) [dtype=float32]'
    row = measure_row("a0", 20, "entropy", 0.5, request=request)
    write_part(folder, "measures", [row], "a0-20-entropy")
    margin, entropy = study_status(folder).requests
    assert margin.request == "margin [dtype=float32]"
    assert entropy == RequestStatus(request, ok=1, nonfinite=0, failed=0, missing=7)


def test_requests_for_final_networks_are_counted_for_those_only(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    asked = {"measures": [{"name": "margin"}], "final_measures": [{"name": "hessian_trace"}]}
    folder = fill(make_folder(study=study_json(**asked)))
    for part in folder.table("measures").glob("*.parquet"):
        if part.name.startswith(("a0-10", "a0-20")):
            part.unlink()
    status = study_status(folder)
    # A margin of another trial's end is missing, too.
    assert [request.missing for request in status.requests] == [3, 1]
    assert status.snapshots_pending == 3
