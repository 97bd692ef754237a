"""The first trial of each shape goes ahead of a larger grid, and its failure stops the others."""

import pytest

import orchestrator
from orchestrator.cluster.backlog import Backlog
from orchestrator.cluster.trials import gate as module
from orchestrator.cluster.trials.canary import Canary, choose_canaries
from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.cluster.work_items import MeasureFailure
from orchestrator.errors import StudyIncomplete
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials
from tests.cluster.comparison import tables
from tests.cluster.conftest import SMALL_STUDY

FAULTY = "tests.cluster.faulty"


class Measurers:
    """What a canary sees of the dispatcher."""

    def __init__(self):
        self.failures, self.measured = [], set()
        self.error, self.reserved, self.unmeasured = None, 1, {"a"}

    def allow(self, measurers):
        pass

    def wake(self):
        pass

    def has_measured(self, trial_id):
        return trial_id in self.measured

    def to_measure(self, trial_id):
        return trial_id in self.unmeasured


@pytest.fixture
def study():
    return Study.model_validate({**SMALL_STUDY, "seeds": 3})


@pytest.fixture
def trials(study):
    return {trial.trial_id: trial for trial in expand_trials(study)}


OF = {"a": "a", "a1": "a", "b": "b", "b1": "b", "a2": "a", "b2": "b"}
"""Trials in their order, with the canaries of their two shapes."""


@pytest.fixture
def state():
    found = RunState(trials=dict.fromkeys([*OF, "known"]), total=7, completed=0, limit=1)
    found.dispatcher = Measurers()
    return found


@pytest.fixture
def gate(state):
    return Gate(state, Canary(OF, state.dispatcher.to_measure))


def taken(gate, number):
    return [gate.next_trial() for _ in range(number)]


def test_one_trial_of_each_shape_is_a_canary(study, trials):
    canary_of = choose_canaries(study, trials, trials, Backlog())
    assert canary_of.keys() == trials.keys()
    for batch_size in (20, 100):
        first, *others = (
            id_ for id_, one in trials.items() if one.config.training.batch_size == batch_size
        )
        assert {canary_of[id_] for id_ in (first, *others)} == {first}


def test_shapes_known_to_work_need_no_canary(study, trials):
    first, *_ = trials
    works = Backlog(checkpoints={f"{first}-10": first})
    works.measured[f"{first}-10"] |= study.requests.keys()
    canary_of = choose_canaries(study, trials, trials, works)
    (chosen,) = set(canary_of.values())
    assert trials[chosen].condition_id != trials[first].condition_id
    assert first not in canary_of
    # A measure that failed on it shows that it does not.
    works.failed_measures[f"{first}-10"]["norms"] = "broken"
    assert len(set(choose_canaries(study, trials, trials, works).values())) == 2


def test_canaries_start_first_then_shapes_known_to_work_then_the_rest(gate):
    assert taken(gate, 8) == ["a", "b", "known", "a1", "b1", "a2", "b2", None]


def test_trials_start_in_their_order_once_their_canary_is_measured(state, gate):
    taken(gate, 3)
    state.dispatcher.measured.add("b")
    assert taken(gate, 2) == ["b1", "b2"]
    state.dispatcher.measured.add("a")
    assert taken(gate, 3) == ["a1", "a2", None]


def test_what_fails_after_its_canary_was_measured_fails_alone(state, gate):
    state.dispatcher.measured |= {"a", "b"}
    assert not gate.closing()
    state.failed["a"] = "late"
    state.dispatcher.failures.append(MeasureFailure("b", "b-20", "margin: late"))
    assert not gate.closing()
    gate.raise_cause()


def test_an_epoch_with_nothing_to_measure_satisfies_a_canary(state, gate):
    state.dispatcher.unmeasured = {"b"}
    state.report("a", {"epoch": 0, "done": False})
    state.report("b", {"epoch": 1, "done": False})
    assert not gate.closing()
    assert gate.canary.awaited == {"a", "b"}
    state.report("a", {"epoch": 1, "done": False})
    assert not gate.closing()
    assert gate.canary.awaited == {"b"}


@pytest.mark.parametrize("why", ["trial", "process", "measure"])
def test_a_failing_canary_ends_the_others_at_their_next_resume_states(
    state, gate, why, monkeypatch
):
    assert taken(gate, 3) == ["a", "b", "known"]
    assert not gate.may_end({"resumable": True})
    if why == "trial":
        state.report("b", {"done": True, "status": "failed", "error": "this model is broken"})
    elif why == "process":
        state.end("b")
        state.failed["b"] = "this model is broken"
    else:
        state.dispatcher.failures.append(MeasureFailure("b", "b-10", "this model is broken"))
    assert gate.next_trial() is None
    assert gate.may_end({"resumable": True})
    assert not gate.may_end({"resumable": False})
    assert not gate.may_end({"done": True})
    # A trial that ends early for this reason has not failed, although it was a canary.
    state.end("a")
    with pytest.raises(StudyIncomplete, match=r"4 trials were not started: b.*: this model is"):
        gate.raise_cause()
    # They are not waited for without end.
    assert not gate.must_stop()
    monkeypatch.setattr(module, "CLOSING_SECONDS", -1.0)
    assert gate.must_stop()


def test_a_value_missing_due_to_a_trust_check_stops_nothing(state, gate):
    reason = "margin: trust check repeatable failed: it is random"
    state.dispatcher.failures.append(MeasureFailure("b", "b-10", reason, untrusted=True))
    assert not gate.closing()


@pytest.mark.ray
@pytest.mark.slow
def test_a_broken_grid_stops_early_and_resumes_once_fixed(local_ray, small_study, tmp_path):
    folder, mended, log = tmp_path / "results", tmp_path / "mended", tmp_path / "log"
    pace = tmp_path / "pace"
    pace.touch()  # A trial then takes long enough for a measurement.
    broken = {f"{FAULTY}:raises_unless": {"mended": str(mended)}}
    study = small_study(
        model={"name": f"{FAULTY}:Logs", "width": 8, "log": str(log), "pace": str(pace)},
        sweep={"model.width": [8, 16]},
        training={**SMALL_STUDY["training"], "batch_size": 20, "stop": {"epochs": 60}},
        seeds=2,
        checkpoints={"epochs": [1]},
        measuring={"trust_checks": False},  # They train on one thread.
        measures=["margin", broken],
        # Two threads for the wider, which so has both cores to itself.
        resources={"trial": {"overrides": [{"where": {"model.width": 16}, "cpus": 2}]}},
    )
    with pytest.raises(StudyIncomplete, match=r"trials were not started: .*measure is broken"):
        orchestrator.run(study, folder, quiet=True)
    assert 1 <= len(list(folder.glob("trials/*-running.parquet"))) <= 2

    mended.touch()
    pace.unlink()
    assert orchestrator.run(study, folder, quiet=True, retry_failed=True).complete
    assert {tuple(line.split()) for line in log.read_text().splitlines()} == {
        ("8", "1"),
        ("16", "2"),
    }
    assert len(tables(folder)["trials"]) == 4
