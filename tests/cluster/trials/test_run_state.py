"""The progress of a run."""

import time
from math import inf
from types import SimpleNamespace

import pytest
import ray

from orchestrator.cluster.trials import run_state
from orchestrator.cluster.trials.run_state import RunState

NODES = [{"NodeID": id_, "Alive": True, "Resources": {"CPU": 2.0}} for id_ in ("here", "there")]


@pytest.fixture
def state(monkeypatch):
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    return RunState({}, total=3, completed=0, limit=9)


def test_bundles_and_avoided_nodes_are_listed_once_for_equal_trials(state):
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


def test_trials_wait_for_measurers_that_are_behind_until_the_time_is_over(state, monkeypatch):
    state.dispatcher = SimpleNamespace(working=True, waiting=state.limit + 1)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            state.until = -inf

    monkeypatch.setattr(run_state, "time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
    state.wait_for_measurers()
    assert len(waited) == 3
