"""Networks that break what results rest on: refused before training, or rows with the reason."""

import pytest

import orchestrator
from orchestrator.cluster import planning
from orchestrator.cluster.planning import plan_study
from orchestrator.cluster.run import rounds
from orchestrator.cluster.snapshots.trust_checks import lost_checks, store_unchecked
from orchestrator.errors import ModelError
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.text.methods import describe_methods
from orchestrator.results import ResultsFolder
from orchestrator.study.plan import plan_text
from orchestrator.study.shapes import measuring_shape
from orchestrator.study.trials import expand_trials
from tests.cluster import in_process
from tests.cluster.comparison import rows
from tests.cluster.in_process import run_in_process

FAULTY = "tests.cluster.faulty"
COUNTS = {"name": f"{FAULTY}:CountsItsUpdates"}
RANDOM = {"name": f"{FAULTY}:RandomInEvaluation"}
MLP = {"name": "mlp", "width": 8, "depth": 1}
ONE = {"seeds": 1, "checkpoints": {}, "measures": ["margin", "norms"], "claims": []}


@pytest.fixture(autouse=True)
def short_probes(monkeypatch):
    monkeypatch.setattr(planning, "PROBE_SECONDS", 0.5)


def test_plan_refuses_what_spoils_training(small_study, tmp_path):
    study = orchestrator.load_study(small_study(**ONE, sweep={"model": [MLP, COUNTS]}))
    with pytest.raises(ModelError, match="CountsItsUpdates', state restores: after 2 updates"):
        plan_study(study, tmp_path / "results")


@pytest.mark.slow
def test_plan_names_what_will_have_no_value(small_study, tmp_path):
    study = orchestrator.load_study(small_study(**ONE, sweep={"model": [MLP, RANDOM]}))
    plan = plan_study(study, tmp_path / "results")
    (text,) = plan.spoiled_measures
    assert "RandomInEvaluation': margin: trust check repeatable failed" in text
    assert f"no value: {text}" in plan_text(plan)
    off = study.model_copy(
        update={"measuring": study.measuring.model_copy(update={"trust_checks": False})}
    )
    assert off.requests == study.requests
    assert plan_study(off, tmp_path / "results").spoiled_measures == ()


@pytest.mark.ray
def test_run_refuses_what_spoils_training_before_anything_is_trained(
    local_ray, small_study, tmp_path
):
    study, folder = small_study(**ONE, sweep={"model": [MLP, COUNTS]}), tmp_path / "results"
    with pytest.raises(ModelError, match=r"state restores: .*; nothing was trained") as refused:
        orchestrator.run(study, folder, quiet=True)
    assert refused.value.exit_code == 2
    assert rows(folder, "SELECT * FROM trials") == []
    assert not list((folder / "snapshots").iterdir())
    # Without that network the study resumes.
    assert run_in_process(small_study(**ONE, model=MLP, sweep={}), folder).complete


def test_what_spoils_measures_alone_gives_them_rows_with_the_reason(
    small_study, tmp_path, monkeypatch
):
    measure, failures = in_process.measure, []

    def watched(*given):
        measured = measure(*given)
        failures.extend(measured.failures)
        return measured

    monkeypatch.setattr(in_process, "measure", watched)
    study, folder = small_study(**ONE, sweep={"model": [MLP, RANDOM]}), tmp_path / "results"
    summary = run_in_process(study, folder)
    # A canary with such failures alone does not stop the run.
    assert failures
    assert [str(failure) for failure in failures if not failure.untrusted] == []
    assert summary.completed == 2
    found = rows(
        folder,
        "SELECT model, request, measures.status, any_value(measures.error) FROM measures "
        "JOIN trials USING (trial_id) WHERE measures.status <> 'nonfinite' "
        "GROUP BY ALL ORDER BY ALL",
    )
    assert {row[:3] for row in found} == {
        ("mlp", "margin", "ok"),
        ("mlp", "norms", "ok"),
        (RANDOM["name"], "margin", "error"),
        (RANDOM["name"], "norms", "ok"),
    }
    (reason,) = (row[3] for row in found if row[2] == "error")
    assert reason.startswith("trust check repeatable failed: two passes in eval mode")

    checks = rows(folder, "SELECT model, trust_check, spoils, status FROM trust_checks")
    assert (RANDOM["name"], "repeatable", "measures", "failed") in checks
    assert {status for model, *_, status in checks if model == "mlp"} == {"passed"}
    with open_source(folder) as source:
        told = dict(describe_methods(source, ()).paragraphs)["Checks"]
    assert told.startswith("Of 2 shapes of network (data, model and loss), 1 passed all of the ")
    assert f"“repeatable” failed for {RANDOM['name']} on digits with cross_entropy: " in told


WIDER = {"name": "mlp", "width": 9, "depth": 1}


def shapes(folder):
    return rows(folder, "SELECT shape, trust_check, status FROM trust_checks ORDER BY ALL")


@pytest.fixture
def two_shapes(small_study, tmp_path):
    """A study of two shapes of networks, its results and what their checks found."""
    study, folder = small_study(**ONE, sweep={"model": [MLP, WIDER]}), tmp_path / "results"
    run_in_process(study, folder)
    return study, folder, shapes(folder)


def parts(folder):
    return [path for path in sorted(folder.glob("trust_checks/*.parquet")) if path.name[0] != "_"]


def test_checks_that_were_lost_are_repeated(two_shapes, monkeypatch):
    study, folder, before = two_shapes
    one, other = parts(folder)
    one.unlink()
    other.write_bytes(other.read_bytes()[:-9])
    summary = run_in_process(study, folder)
    assert (summary.trained, summary.measured) == (0, 0)
    assert shapes(folder) == before
    monkeypatch.setattr(rounds, "ray_session", lambda *_: pytest.fail("nothing was missing"))
    assert orchestrator.run(study, folder, quiet=True).complete


def test_results_without_any_checks_are_left_alone(two_shapes, monkeypatch):
    study, folder, _ = two_shapes
    for part in parts(folder):
        part.unlink()
    monkeypatch.setattr(rounds, "ray_session", lambda *_: pytest.fail("nothing was missing"))
    assert orchestrator.run(study, folder, quiet=True).complete


def test_lost_checks_that_cannot_be_repeated_have_the_reason(two_shapes):
    path, folder, before = two_shapes
    parts(folder)[0].unlink()
    study = orchestrator.load_study(path)
    configs = [trial.config for trial in expand_trials(study)]
    (lost,) = lost_checks(ResultsFolder.open(folder), study, configs)
    reasons = {measuring_shape(lost): "the process that ran the checks died"}
    store_unchecked(ResultsFolder.open(folder), study, [lost], reasons)
    assert lost_checks(ResultsFolder.open(folder), study, configs) == []
    assert [row[:2] for row in shapes(folder)] == [row[:2] for row in before]
    told = rows(folder, "SELECT DISTINCT status, reason FROM trust_checks WHERE status <> 'passed'")
    assert told == [("undecided", "the process that ran the checks died")]
