"""Measures that are asked for when the training is long over."""

import json

import pytest

import orchestrator
from orchestrator.cluster.run import driver, rounds
from orchestrator.errors import ResultsError, StudyFileError
from orchestrator.results import study_status
from tests.cluster.comparison import rows
from tests.cluster.in_process import workers_in_process

FAULTY = "tests.cluster.faulty"
VALUES = (
    "SELECT checkpoint_id, measure, variant, split, value, standard_error FROM measures "
    "WHERE measure IN ('hessian_trace', 'weight_norm') ORDER BY ALL"
)


@pytest.mark.ray
@pytest.mark.slow
def test_measuring_after_training_gives_the_same_values_as_during_it(
    local_ray, made_once, finished, monkeypatch
):
    at_once = made_once(seeds=1)
    later = finished(seeds=1, measures=["margin"])
    trained = rows(later, "SELECT trial_id, written_at FROM trials ORDER BY 1")

    summary = orchestrator.measure(later, ["hessian_trace", "norms"], quiet=True)
    assert not summary.failed_measures
    assert (summary.completed, summary.trained) == (2, 0)
    assert summary.measured == rows(later, "SELECT count(*) FROM checkpoints")[0][0]
    assert rows(later, VALUES) == rows(at_once, VALUES)
    assert rows(later, "SELECT trial_id, written_at FROM trials ORDER BY 1") == trained
    assert study_status(later).snapshots_pending == 0
    assert "hessian_trace" in rows(later, "SELECT list(measure) FROM measure_catalog")[0][0]

    with monkeypatch.context() as patched:
        patched.setattr(rounds, "ray_session", lambda *_: pytest.fail("nothing was missing"))
        again = orchestrator.measure(later, ["norms"], quiet=True)
        finish = orchestrator.measure(later, quiet=True)
    assert again.measured == finish.measured == 0

    # What is too dear for every snapshot.
    dear = orchestrator.measure(later, ["path_norm"], final=True, quiet=True)
    assert (dear.measured, dear.failed_measures) == (2, [])
    measured_at = "SELECT checkpoint_id FROM measures WHERE request = 'path_norm' GROUP BY ALL"
    assert sorted(rows(later, measured_at)) == sorted(
        rows(later, "SELECT checkpoint_id FROM checkpoints WHERE reason LIKE '%final%'")
    )
    status = study_status(later)
    assert (status.snapshots_pending, status.requests[-1].ok) == (0, 2)

    # One's own measure, which fails: the others stay, and the summary says so.
    with workers_in_process():
        broken = orchestrator.measure(later, [f"{FAULTY}:raises"], quiet=True)
    assert broken.failed_measures
    assert rows(later, VALUES) == rows(at_once, VALUES)


def test_wrong_input_changes_nothing(small_study, tmp_path):
    with pytest.raises(ResultsError, match="does not exist"):
        orchestrator.measure(tmp_path / "none", ["margin"])
    assert not (tmp_path / "none").exists()
    with pytest.raises(StudyFileError, match="did you mean"):
        orchestrator.measure(_untrained(small_study, tmp_path), ["margn"])


def _untrained(small_study, tmp_path):
    """A results folder whose run went no further than making it."""
    study = orchestrator.load_study(small_study())
    folder = driver.ResultsFolder.create(
        tmp_path / "begun", study.model_dump_json(), "study: small\n", {}, ""
    )
    return folder.path


def test_a_study_without_snapshots_needs_no_ray(small_study, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "ray_session", lambda *_: pytest.fail("nothing was missing"))
    path = _untrained(small_study, tmp_path)
    summary = orchestrator.measure(path, ["norms"], quiet=True)
    assert (summary.completed, summary.measured) == (0, 0)
    *_, run = json.loads((path / "provenance.json").read_text())["runs"]
    assert [claim["name"] for claim in run["claims"]] == ["flatness_tracks_margin"]
