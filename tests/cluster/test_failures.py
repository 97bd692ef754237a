"""Trials and measures that fail: a row with status and reason each, and the others unaffected."""

import pytest

import orchestrator
from orchestrator.cluster import rounds
from orchestrator.results import study_status

from .comparison import tables
from .conftest import TWO_TRIALS

pytestmark = pytest.mark.ray

FAULTY = f"{__package__}.faulty" if __package__ else "faulty"


def rows(folder, sql):
    with orchestrator.connect(folder) as database:
        return database.execute(sql).fetchall()


def test_each_measure_fails_by_itself_and_is_retried_only_if_asked(
    local_ray, small_study, tmp_path, monkeypatch
):
    folder, mended = tmp_path / "results", tmp_path / "mended"
    broken = {f"{FAULTY}:raises_unless": {"mended": str(mended)}}
    measures = ["margin", broken, f"{FAULTY}:fills_memory", f"{FAULTY}:infinite"]
    study = small_study(**{**TWO_TRIALS, "seeds": 1, "checkpoints": {}, "measures": measures})
    summary = orchestrator.run(study, folder, quiet=True)
    assert summary.completed == 1
    assert not summary.complete
    assert len(summary.failed_measures) == 2
    assert "--retry-failed" in summary.text()
    found = {
        request.partition("(")[0].rpartition(":")[2]: (status, error)
        for request, status, error in rows(
            folder, "SELECT DISTINCT request, status, error FROM measures"
        )
    }
    assert {name: status for name, (status, _) in found.items()} == {
        "margin": "ok",
        "raises_unless": "error",
        "fills_memory": "error",
        "infinite": "nonfinite",
    }
    assert "this measure is broken" in found["raises_unless"][1]
    assert "no memory left" in found["fills_memory"][1]
    margins = "SELECT * FROM measures WHERE measure LIKE 'margin%' ORDER BY ALL"
    measured = rows(folder, margins)
    assert measured
    assert study_status(folder).snapshots_failed == 1

    # What failed is not tried again by itself, nor forgotten …
    mended.touch()
    with monkeypatch.context() as patched:
        patched.setattr(rounds, "ray_session", lambda *_: pytest.fail("nothing was missing"))
        again = orchestrator.run(study, folder, quiet=True)
    assert again.failed_measures == summary.failed_measures
    # … but if asked; what is mended is measured, and what was measured stays.
    retried = orchestrator.run(study, folder, quiet=True, retry_failed=True)
    assert len(retried.failed_measures) == 1
    assert rows(folder, "SELECT value FROM measures WHERE measure = 'mended'") == [(1.0,)]
    assert rows(folder, margins) == measured


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_and_retried_only_if_asked(
    local_ray, small_study, tmp_path, monkeypatch
):
    folder, unless = tmp_path / "results", tmp_path / "mended"
    hangs = {"name": f"{FAULTY}:Hangs", "unless": str(unless)}
    works = {"name": "mlp", "width": 8, "depth": 1}
    study = small_study(
        **{**TWO_TRIALS, "seeds": 1, "sweep": {"model": [hangs, works]}, "measures": ["margin"]},
        resources={"trial": {"timeout": 6}},
    )
    summary = orchestrator.run(study, folder, quiet=True)
    assert (summary.completed, summary.trained) == (1, 1)
    (reason,) = summary.failed_trials.values()
    assert "took longer than resources.trial.timeout, 6 s" in reason
    failed = rows(folder, "SELECT attempt, error FROM trials WHERE status = 'failed'")
    assert failed == [(3, reason)]
    before = tables(folder)["checkpoints"]

    unless.touch()
    assert orchestrator.run(study, folder, quiet=True).failed_trials == summary.failed_trials
    assert orchestrator.run(study, folder, quiet=True, retry_failed=True).complete
    assert before.items() <= tables(folder)["checkpoints"].items()
