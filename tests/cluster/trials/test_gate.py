"""Whether training must stop."""

from math import inf
from types import SimpleNamespace

import pytest
import ray

from orchestrator.cluster.trials import failing_nodes, gate
from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.errors import StorageError

NODES = [{"NodeID": id_, "Alive": True, "Resources": {"CPU": 2.0}} for id_ in ("here", "there")]


@pytest.fixture
def state(monkeypatch):
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    return RunState({}, total=2, completed=0, limit=9, bundles={"one": {"CPU": 1.0}})


def test_training_continues_while_nothing_is_wrong(state):
    checked = Gate(state)
    assert not checked.must_stop()
    assert not checked.closing()
    checked.raise_cause()


def test_a_full_disk_stops_training_and_is_the_cause(state):
    state.report("one", {"done": True, "status": "not stored", "error": ("full", None)})
    checked = Gate(state)
    assert checked.must_stop()
    with pytest.raises(StorageError, match="full"):
        checked.raise_cause()


def test_a_dispatcher_that_failed_stops_training(state):
    state.dispatcher = SimpleNamespace(error=None)
    assert not Gate(state).must_stop()
    state.dispatcher = SimpleNamespace(error=RuntimeError("broken"))
    assert Gate(state).must_stop()


def test_nothing_starts_and_trials_end_at_their_resume_states_once_the_time_is_over(state):
    state.trials = {"one": None, "two": None}
    assert Gate(state, until=inf).next_trial() == "one"
    checked = Gate(state, until=-inf)
    assert checked.next_trial() is None
    assert checked.may_end({"resumable": True})
    assert not checked.may_end({"resumable": False})
    assert not checked.must_stop()
    checked.raise_cause()


def test_a_trial_waiting_for_a_lost_node_stops_training(state, monkeypatch):
    """The next round places it again, which is no failure."""
    monkeypatch.setattr(failing_nodes, "more_nodes_may_come", lambda: False)
    monkeypatch.setattr(gate, "STRANDED_CHECK_SECONDS", 0.0)
    state.nodes.started("one", "here")
    state.nodes.died("one")
    state.placement("one")
    checked = Gate(state)
    assert not checked.must_stop()
    monkeypatch.setattr(ray, "nodes", lambda: NODES[:1])
    assert checked.must_stop()
    checked.raise_cause()
