"""The line that says how far a run is."""

from types import SimpleNamespace

import pytest

from orchestrator.cluster.run import progress_display as progress
from orchestrator.cluster.run.progress_display import duration, summary_line
from orchestrator.cluster.trials.run_state import RunState


@pytest.fixture
def state(monkeypatch):
    """A minute after it began."""
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: 160.0))
    return RunState({}, total=4, completed=0, limit=9, started_at=100.0)


def dispatcher(measured, waiting):
    return SimpleNamespace(measured=measured, waiting=waiting, failures=[])


def test_the_remaining_training_time_is_shown_while_networks_train(state, monkeypatch):
    monkeypatch.setattr(RunState, "seconds_left", lambda self: 185.0)
    state.running, state.dispatcher = {"one": {}}, dispatcher(20, 5)
    assert summary_line(state) == (
        "trials 0/4 · 1 running · snapshots measured 20, waiting 5 · 1 min 00 s elapsed · "
        "20 snapshots/min · about 3 min 05 s of training left"
    )


def test_the_remaining_measuring_time_is_shown_after_training(state):
    state.dispatcher = dispatcher(20, 5)
    assert summary_line(state).endswith("20 snapshots/min · about 15 s of measuring left")


@pytest.mark.parametrize(("measured", "waiting"), [(0, 5), (20, 0)])
def test_no_remaining_time_is_shown_if_unknown_or_done(state, measured, waiting):
    state.dispatcher = dispatcher(measured, waiting)
    assert "more" not in summary_line(state)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7800, "2 h 10 min")],
)
def test_durations_are_formatted_for_people(seconds, text):
    assert duration(seconds) == text
