"""Whole small studies under a real Ray."""

import pytest

import orchestrator
from orchestrator.cluster.run import rounds
from tests.cluster.comparison import rows
from tests.cluster.in_process import run_in_process

pytestmark = pytest.mark.ray

FAULTY = "tests.cluster.faulty"


@pytest.fixture
def run(local_ray, tmp_path):
    def run_study(path):
        return orchestrator.run(path, tmp_path / "results", quiet=True)

    return run_study


def test_a_study_is_trained_measured_and_extended_without_retraining(
    run, small_study, tmp_path, monkeypatch
):
    folder = tmp_path / "results"
    summary = run(small_study())
    assert summary.complete
    assert (summary.trials, summary.trained) == (4, 4)
    assert rows(folder, "SELECT count(*), count(DISTINCT trial_id) FROM trials") == [(4, 4)]
    assert rows(folder, "SELECT DISTINCT status, stop_reason FROM trials") == [
        ("completed", "epochs")
    ]
    # Five epoch rows (the untrained network's included) on two splits for each trial.
    assert rows(folder, "SELECT count(*) FROM epochs") == [(4 * 5 * 2,)]
    snapshots = rows(folder, "SELECT count(*) FROM checkpoints")[0][0]
    assert summary.measured == snapshots >= 4 * 3
    unmeasured = (
        "SELECT count(*) FROM checkpoints c WHERE 3 != (SELECT count(DISTINCT request) "
        "FROM measures m WHERE m.checkpoint_id = c.checkpoint_id AND m.status = 'ok')"
    )
    assert rows(folder, unmeasured) == [(0,)]
    losses = rows(
        folder,
        "SELECT f.trial_id, f.train_loss, t.written_at "
        "FROM final f JOIN trials t USING (trial_id) ORDER BY 1",
    )

    # Again: nothing is missing, so Ray is not even looked for.
    with monkeypatch.context() as patched:
        patched.setattr(rounds, "ray_session", lambda *_: pytest.fail("nothing was missing"))
        again = run(small_study())
    assert again.complete
    assert (again.trained, again.measured) == (0, 0)

    # One seed and one measure more: two trials to train, all snapshots to measure for it.
    measures = ["margin", "hessian_trace", "norms", f"{FAULTY}:weight_sum"]
    extended = run_in_process(small_study(seeds=3, measures=measures), folder)
    assert extended.complete
    assert extended.trained == 2
    after = rows(
        folder,
        "SELECT f.trial_id, f.train_loss, t.written_at "
        "FROM final f JOIN trials t USING (trial_id) ORDER BY 1",
    )
    assert set(losses) <= set(after)
    assert len(after) == 6
    assert rows(
        folder,
        "SELECT count(DISTINCT checkpoint_id) = (SELECT count(*) FROM checkpoints) "
        "FROM measures WHERE measure = 'weight_sum' AND status = 'ok'",
    ) == [(True,)]


@pytest.mark.slow
def test_a_killed_trial_resumes_and_ends_as_if_undisturbed(run, small_study, tmp_path):
    model = {"name": f"{FAULTY}:KillsOnce", "marker": str(tmp_path / "killed"), "calls": 25}
    changes = {"model": model, "sweep": {}, "seeds": 1, "measures": ["margin"]}
    assert run(small_study(**changes)).complete
    assert (tmp_path / "killed").exists()
    query = "SELECT step, train_loss, test_loss, sha256 FROM checkpoints ORDER BY step"
    killed = rows(tmp_path / "results", query)

    undisturbed = tmp_path / "undisturbed"
    run_in_process(small_study(**changes), undisturbed)
    assert killed == rows(undisturbed, query)


@pytest.mark.slow
def test_a_killed_measurer_is_replaced(run, small_study, tmp_path):
    measure = {f"{FAULTY}:kills_once": {"marker": str(tmp_path / "killed")}}
    summary = run(small_study(seeds=1, sweep={}, measures=["margin", measure]))
    assert (tmp_path / "killed").exists()
    assert summary.complete
    assert rows(tmp_path / "results", "SELECT count(*) FROM measures WHERE status != 'ok'") == [
        (0,)
    ]


@pytest.mark.slow
def test_a_measure_that_kills_every_measurer_fails_after_three_attempts(run, small_study, tmp_path):
    poison = small_study(seeds=1, sweep={}, checkpoints={}, measures=[f"{FAULTY}:kills_always"])
    summary = run(poison)
    assert not summary.complete
    assert "given up after 3 attempts" in summary.failed_measures[0]
    ((status, reason),) = rows(tmp_path / "results", "SELECT status, error FROM measures")
    assert status == "error"
    assert "3 attempts" in reason


@pytest.mark.slow
def test_a_broken_model_fails_only_its_own_trials(run, small_study, tmp_path):
    broken = {"name": f"{FAULTY}:Raises", "calls": 15}
    works = {"name": "mlp", "width": 8, "depth": 1}
    study = small_study(seeds=1, sweep={"model": [broken, works]}, measures=["margin"])
    summary = run(study)
    assert not summary.complete
    assert summary.completed == 1
    (reason,) = summary.failed_trials.values()
    assert "this model is broken" in reason
    assert rows(tmp_path / "results", "SELECT status FROM trials ORDER BY 1") == [
        ("completed",),
        ("failed",),
    ]


def test_divergence_completes_a_trial_with_that_stop_reason(small_study, tmp_path):
    sgd = {"name": "sgd", "learning_rate": 1e6}
    training = {"loss": "mse", "optimizer": sgd, "stop": {"epochs": 20}}
    study = small_study(training=training, sweep={}, seeds=1, measures=["margin"])
    summary = run_in_process(study, tmp_path / "results")
    assert summary.completed == 1
    assert rows(tmp_path / "results", "SELECT stop_reason FROM trials") == [("diverged",)]
    statuses = {status for (status,) in rows(tmp_path / "results", "SELECT status FROM measures")}
    assert "nonfinite" in statuses
