"""Some trials go ahead of a larger grid; others wait for them."""

import pytest
from ray.tune import register_trainable

import orchestrator
from orchestrator.cluster.backlog import Backlog
from orchestrator.cluster.trials.canary import Canary, choose_canaries
from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.cluster.trials.tune_hooks import CanaryFirst
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


@pytest.fixture
def state(trials):
    found = RunState(trials=trials, total=len(trials), completed=0, limit=1)
    found.dispatcher = Measurers()
    return found


@pytest.fixture
def gate(state):
    return Gate(state, Canary({"a", "b"}, 4, state.dispatcher.to_measure))


def test_one_trial_of_each_shape_goes_ahead(study, trials):
    chosen = choose_canaries(study, trials, trials, Backlog())
    assert len(chosen) == 2
    assert {trials[id_].config.training.batch_size for id_ in chosen} == {20, 100}
    first = next(iter(trials))
    assert chosen[0] == first


def test_what_is_known_to_work_needs_none(study, trials):
    first, *_ = trials
    works = Backlog(checkpoints={f"{first}-10": first})
    works.measured[f"{first}-10"] |= study.requests.keys()
    (chosen,) = choose_canaries(study, trials, trials, works)
    assert trials[chosen].condition_id != trials[first].condition_id
    # A measure that failed on it shows that it does not.
    works.failed_measures[f"{first}-10"]["norms"] = "broken"
    assert len(choose_canaries(study, trials, trials, works)) == 2


def test_others_start_once_all_that_went_ahead_are_measured(state, gate):
    assert not gate.others_may_start()
    state.dispatcher.measured.add("a")
    assert not gate.others_may_start()
    state.dispatcher.measured.add("b")
    assert gate.others_may_start()
    # What fails from here on fails alone.
    state.failed["a"] = "late"
    state.dispatcher.failures.append(MeasureFailure("b", "b-20", "margin: late"))
    assert gate.others_may_start()
    gate.raise_cause()


def test_an_epoch_with_nothing_to_measure_is_enough(state, gate):
    state.dispatcher.unmeasured = {"b"}
    state.report("a", {"epoch": 0, "done": False})
    state.report("b", {"epoch": 1, "done": False})
    assert not gate.others_may_start()
    assert gate.canary.awaited == {"a", "b"}
    state.report("a", {"epoch": 1, "done": False})
    assert not gate.others_may_start()
    assert gate.canary.awaited == {"b"}


@pytest.mark.parametrize("why", ["trial", "process", "measure"])
def test_a_failure_stops_all(state, gate, why):
    if why == "trial":
        state.report("b", {"done": True, "status": "failed", "error": "this model is broken"})
    elif why == "process":
        state.end("b")
        state.failed["b"] = "this model is broken"
    else:
        state.dispatcher.failures.append(MeasureFailure("b", "b-10", "this model is broken"))
    assert not gate.others_may_start()
    assert gate.must_stop()
    with pytest.raises(StudyIncomplete, match=r"4 trials were not started: b.*: this model is"):
        gate.raise_cause()


def test_what_a_trust_check_leaves_without_a_value_stops_nothing(state, gate):
    reason = "margin: trust check repeatable failed: it is random"
    state.dispatcher.failures.append(MeasureFailure("b", "b-10", reason, untrusted=True))
    assert not gate.must_stop()


def test_tune_is_handed_the_others_only_then(state, gate):
    register_trainable("function", lambda config: None)
    search = CanaryFirst(gate, ahead=2, most=9)
    search.add_configurations(
        {"t": {"run": "function", "config": {"trial_id": {"grid_search": ["a", "b", "c"]}}}}
    )
    assert [search.next_trial().config["trial_id"] for _ in range(2)] == ["a", "b"]
    assert search.next_trial() is None
    assert not search.is_finished()
    state.dispatcher.measured |= {"a", "b"}
    assert search.next_trial().config["trial_id"] == "c"


def test_tune_is_handed_no_other_after_a_failure(state, gate):
    search = CanaryFirst(gate, ahead=0, most=9)
    state.failed["a"] = "broken"
    assert search.next_trial() is None
    assert search.is_finished()


@pytest.mark.ray
@pytest.mark.slow
def test_a_grid_that_cannot_work_stops_early_and_goes_on_once_mended(
    local_ray, small_study, tmp_path
):
    folder, mended, log = tmp_path / "results", tmp_path / "mended", tmp_path / "log"
    broken = {f"{FAULTY}:raises_unless": {"mended": str(mended)}}
    study = small_study(
        model={"name": f"{FAULTY}:Logs", "width": 8, "log": str(log)},
        sweep={"model.width": [8, 16]},
        training={**SMALL_STUDY["training"], "batch_size": 20},
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
    assert orchestrator.run(study, folder, quiet=True, retry_failed=True).complete
    assert {tuple(line.split()) for line in log.read_text().splitlines()} == {
        ("8", "1"),
        ("16", "2"),
    }
    assert len(tables(folder)["trials"]) == 4
