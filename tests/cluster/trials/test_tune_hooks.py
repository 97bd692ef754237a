"""What a run learns from Tune's events and decides for Tune, with trials of Tune's own."""

from types import SimpleNamespace

import pytest
import ray
from ray import cloudpickle, tune
from ray.exceptions import RayActorError, RayTaskError
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.cluster.trials.trainable import SPOILT
from orchestrator.cluster.trials.tune_hooks import (
    NextTrial,
    RunCallback,
    StopWhenUseless,
    TrialScheduler,
)

pytestmark = pytest.mark.ray

NODES = [{"NodeID": id_, "Alive": True, "Resources": {"CPU": 2.0}} for id_ in ("here", "there")]


@pytest.fixture
def state(monkeypatch):
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    return RunState({}, total=2, completed=0, limit=9, bundles={"one": {"CPU": 1.0}})


@pytest.fixture
def trial(local_ray, tmp_path):
    """A trial as Tune's controller keeps it, whose files go to the storage later."""
    storage = StorageContext(storage_path=str(tmp_path / "storage"), experiment_dir_name="study")
    found = Trial("stub", config={"trial_id": "one"}, storage=storage, stub=True)
    found.placement_group_factory = tune.PlacementGroupFactory([{"CPU": 1.0}])
    found.init_local_path()
    return found


def fail(state, trial, error, news):
    trial.handle_error(error)
    getattr(RunCallback(state), news)(iteration=1, trials=[trial], trial=trial)


@pytest.mark.parametrize("news", ["on_trial_recover", "on_trial_error"])
def test_the_death_of_a_process_counts_against_its_node(state, trial, news):
    state.nodes.started("one", "here")
    fail(state, trial, RayActorError(), news)
    state.nodes.started("other", "here")
    state.nodes.died("other")
    state.nodes.started("other", "here")
    state.nodes.died("other")
    assert state.nodes.failing == {"here": "3 processes of 2 trials died there"}


def test_a_trial_whose_process_died_restarts_on_another_node(state, trial):
    state.nodes.started("one", "here")
    fail(state, trial, RayActorError(), "on_trial_recover")
    asked = trial.placement_group_factory._bound.arguments
    assert asked["bundle_label_selector"] == [{"ray.io/node-id": "!in(here)"}]


@pytest.mark.parametrize("news", ["on_trial_recover", "on_trial_error"])
def test_an_exception_counts_against_no_node(state, trial, news):
    state.nodes.started("one", "here")
    fail(state, trial, RayTaskError("train", "Traceback …", ValueError("broken")), news)
    placed = state.nodes.placement("one", {"CPU": 1.0})
    assert "bundle_label_selector" not in placed._bound.arguments


def test_a_permanently_failed_trial_counts_as_ended(state, trial):
    state.running["one"] = {}
    fail(state, trial, RayActorError(), "on_trial_error")
    assert state.ended == {"one"}
    assert not state.running


def test_a_process_that_dies_before_its_trial_starts_leaves_the_trial_untried(state, trial):
    trial.max_failures = 2
    fail(state, trial, RayActorError(), "on_trial_error")
    assert state.untried == {"one"}


def test_a_trial_fails_once_its_process_died_the_allowed_number_of_times(state, trial):
    trial.max_failures = 0
    fail(state, trial, RayActorError(), "on_trial_error")
    assert state.untried == set()


@pytest.mark.parametrize(
    ("result", "reused"),
    [({SPOILT: None}, True), ({}, True), ({SPOILT: "a thread that is still running"}, False)],
)
def test_a_process_spoilt_by_a_trial_is_not_reused(state, result, reused):
    tune = SimpleNamespace(_trial_to_actor={"trial": "process"}, _started_actors={"process"})
    TrialScheduler(state).on_trial_complete(tune, "trial", result)
    assert (tune._started_actors == {"process"}) == reused


def test_completing_a_trial_without_a_process_does_nothing(state):
    tune = SimpleNamespace(_trial_to_actor={}, _started_actors=set())
    TrialScheduler(state).on_trial_complete(tune, "trial", {SPOILT: "it"})


def test_tune_receives_as_many_trials_as_there_are_slots(state):
    state.trials = dict.fromkeys("abc")
    search = NextTrial(Gate(state), most=2)
    assert [search.suggest(name) for name in "123"] == [{"trial_id": "a"}, {"trial_id": "b"}, None]
    search.on_trial_complete("1", result={})
    assert [search.suggest(name) for name in "45"] == [{"trial_id": "c"}, None]
    search.on_trial_complete("2", error=True)
    assert search.suggest("6") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("pending", "chosen"),
    [
        # Tune itself would give it to the first, whose own process is starting, and kill that one.
        ({"starting", "also starting", "waiting", "later"}, "waiting"),
        # The free process may occupy the slot that both processes wait for.
        ({"starting", "also starting"}, "starting"),
        (set(), None),
    ],
)
def test_a_free_process_goes_to_a_trial_without_one_if_there_is_any(state, pending, chosen):
    tune = SimpleNamespace(
        _pending_trials=pending,
        _pending_trials_list=["begun", "starting", "also starting", "waiting", "later"],
        _trial_to_actor={"starting": "its process", "also starting": "another"},
    )
    assert TrialScheduler(state).choose_trial_to_run(tune) == chosen


def test_a_trial_reserves_its_bundle_of_resources(state, trial):
    state.bundles = {"one": {"CPU": 2.0, "GPU": 0.5}}
    TrialScheduler(state).on_trial_add(None, trial)
    assert trial.placement_group_factory.bundles == [{"CPU": 2.0, "GPU": 0.5}]


def test_the_pickled_hooks_do_not_grow_with_the_study(state):
    state.bundles = {str(number): {"CPU": 1.0} for number in range(10_000)}
    gate = Gate(state)
    hooks = (TrialScheduler(state), RunCallback(state), StopWhenUseless(gate))
    for hook in (*hooks, NextTrial(gate, most=1)):
        assert len(cloudpickle.dumps(hook)) < 1000
