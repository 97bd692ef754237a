"""What a run learns from Tune's news, told of Tune's own trials."""

import pytest
import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial

from orchestrator.cluster import failing_nodes, run_state
from orchestrator.cluster.run_state import RunCallback, RunState, watch

pytestmark = pytest.mark.ray

NODES = [{"NodeID": id_, "Alive": True, "Resources": {"CPU": 2.0}} for id_ in ("here", "there")]


@pytest.fixture
def state(monkeypatch):
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    state = RunState({}, total=2, completed=0, limit=9, bundles={"one": {"CPU": 1.0}})
    watch(state)
    yield state
    watch(None)


@pytest.fixture
def trial(local_ray, tmp_path):
    """A trial as Tune's controller keeps it, whose files go to the storage later."""
    storage = StorageContext(storage_path=str(tmp_path / "storage"), experiment_dir_name="study")
    found = Trial("stub", config={"trial_id": "one"}, storage=storage, stub=True)
    found.placement_group_factory = tune.PlacementGroupFactory([{"CPU": 1.0}])
    found.init_local_path()
    return found


def fail(trial, error, news):
    trial.handle_error(error)
    getattr(RunCallback(), news)(iteration=1, trials=[trial], trial=trial)


@pytest.mark.parametrize("news", ["on_trial_recover", "on_trial_error"])
def test_the_death_of_a_process_counts_against_its_node(state, trial, news):
    state.nodes.started("one", "here")
    fail(trial, RayActorError(), news)
    state.nodes.started("other", "here")
    state.nodes.died("other")
    state.nodes.started("other", "here")
    state.nodes.died("other")
    assert state.nodes.failing == {"here": "3 processes of 2 trials died there"}


def test_whose_process_died_starts_elsewhere(state, trial):
    state.nodes.started("one", "here")
    fail(trial, RayActorError(), "on_trial_recover")
    asked = trial.placement_group_factory._bound.arguments
    assert asked["bundle_label_selector"] == [{"ray.io/node-id": "!in(here)"}]


@pytest.mark.parametrize("news", ["on_trial_recover", "on_trial_error"])
def test_an_exception_counts_against_no_node(state, trial, news):
    state.nodes.started("one", "here")
    fail(trial, RayTaskError("train", "Traceback …", ValueError("broken")), news)
    placed = state.nodes.placement("one", {"CPU": 1.0})
    assert "bundle_label_selector" not in placed._bound.arguments


def test_a_trial_that_failed_for_good_is_ended(state, trial):
    state.running["one"] = {}
    fail(trial, RayActorError(), "on_trial_error")
    assert state.ended == {"one"}
    assert not state.running


def test_a_process_that_died_before_a_trial_began_in_it_is_not_the_failure_of_the_trial(
    state, trial
):
    trial.max_failures = 2
    fail(trial, RayActorError(), "on_trial_error")
    assert state.untried == {"one"}


def test_a_process_that_died_as_often_as_may_be_is(state, trial):
    trial.max_failures = 0
    fail(trial, RayActorError(), "on_trial_error")
    assert state.untried == set()


def test_trials_are_placed_anew_once_one_waits_for_a_node_that_is_gone(state, trial, monkeypatch):
    monkeypatch.setattr(failing_nodes, "more_nodes_may_come", lambda: False)
    monkeypatch.setattr(run_state, "STRANDED_LOOK_SECONDS", 0.0)
    state.nodes.started("one", "here")
    fail(trial, RayActorError(), "on_trial_recover")
    assert not state.must_stop
    monkeypatch.setattr(ray, "nodes", lambda: NODES[:1])
    assert state.must_stop
    state.raise_what_stopped()  # Raises nothing: the next round continues.


def test_what_trials_book_and_where_they_must_not_run_is_told_once_for_all_alike(state):
    state.bundles = {"one": {"CPU": 1.0}, "two": {"CPU": 1.0}, "three": {"CPU": 1.0}}
    assert state.places() == [({"CPU": 1.0}, frozenset())]
    state.nodes.started("two", "here")
    state.nodes.died("two")
    assert sorted(state.places(), key=lambda place: len(place[1])) == [
        ({"CPU": 1.0}, frozenset()),
        ({"CPU": 1.0}, frozenset({"here"})),
    ]
    for trial_id in state.bundles:
        state.end(trial_id)
    assert state.places() == []
