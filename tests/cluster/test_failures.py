"""Trials and measures that fail: a row with status and reason each, and the others unaffected."""

import uuid
from pathlib import Path

import pytest

import orchestrator
from orchestrator.cluster.run import rounds
from orchestrator.results import study_status
from tests.cluster.comparison import rows, tables
from tests.cluster.conftest import TWO_TRIALS
from tests.cluster.in_process import run_in_process

FAULTY = "tests.cluster.faulty"


def test_each_measure_fails_alone_and_is_retried_only_on_request(
    small_study, tmp_path, monkeypatch
):
    folder, mended = tmp_path / "results", tmp_path / "mended"
    broken = {f"{FAULTY}:raises_unless": {"mended": str(mended)}}
    measures = ["margin", broken, f"{FAULTY}:fills_memory", f"{FAULTY}:infinite"]
    study = small_study(**{**TWO_TRIALS, "seeds": 1, "checkpoints": {}, "measures": measures})
    summary = run_in_process(study, folder)
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
    assert "out of memory" in found["fills_memory"][1]
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
    retried = run_in_process(study, folder, retry_failed=True)
    assert len(retried.failed_measures) == 1
    assert rows(folder, "SELECT value FROM measures WHERE measure = 'mended'") == [(1.0,)]
    assert rows(folder, margins) == measured

    # What is still broken is asked for no more: the study is complete, its rows are out of sight.
    without = small_study(**{**TWO_TRIALS, "seeds": 1, "checkpoints": {}, "measures": ["margin"]})
    assert orchestrator.run(without, folder, quiet=True).complete


@pytest.fixture
def small_group():
    """A control group whose processes the kernel kills when they take more than 64 MB."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"small-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(64 * 2**20))
            yield group
            return
        except OSError:
            continue
        finally:
            group.rmdir()
    pytest.skip("no control group can be made here")


@pytest.mark.slow
@pytest.mark.ray
def test_a_measure_killed_by_the_kernel_for_its_memory_fails_alone(
    local_ray, small_study, tmp_path, small_group
):
    folder, log = tmp_path / "results", tmp_path / "log"
    greedy = {f"{FAULTY}:is_killed_for_memory": {"group": str(small_group), "log": str(log)}}
    study = small_study(
        **{**TWO_TRIALS, "seeds": 1, "checkpoints": {}, "measures": ["margin", greedy, "norms"]}
    )
    summary = orchestrator.run(study, folder, quiet=True)
    assert summary.completed == 1
    assert log.read_text().splitlines() == ["tried"] * 3
    (failed,) = summary.failed_measures
    ((request, error),) = rows(folder, "SELECT request, error FROM measures WHERE status = 'error'")
    assert request in failed
    assert error.startswith(f"{request}: given up after 3 attempts: its measurer died (killed or")
    assert "measuring.examples_per_pass" in error
    assert rows(folder, "SELECT DISTINCT request FROM measures WHERE status = 'ok' ORDER BY 1") == [
        ("margin",),
        ("norms",),
    ]


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_that_hangs_is_ended_and_retried_only_on_request(
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
    assert "took longer than resources.trial.timeout (6 s)" in reason
    failed = rows(folder, "SELECT attempt, error FROM trials WHERE status = 'failed'")
    assert failed == [(3, reason)]
    before = tables(folder)["checkpoints"]

    unless.touch()
    assert orchestrator.run(study, folder, quiet=True).failed_trials == summary.failed_trials
    assert orchestrator.run(study, folder, quiet=True, retry_failed=True).complete
    assert before.items() <= tables(folder)["checkpoints"].items()
