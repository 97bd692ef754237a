"""What is known of a process, and how it is reset."""

import signal
import threading
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch

from orchestrator.training.process_guard import ProcessState, lasting, left_as_found
from orchestrator.training.process_settings import process_settings
from tests.cluster import neighbours


@pytest.fixture(autouse=True)
def undo():
    yield
    neighbours.leave()


def test_every_setting_is_readable_and_has_a_unique_name():
    settings = process_settings()
    assert len({setting.name for setting in settings}) == len(settings)
    first = {setting.name: setting.read() for setting in settings}
    assert {setting.name: setting.read() for setting in settings} == first
    assert ProcessState().restore() == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            change,
            id=change.__name__,
            # Importing the compiler takes seconds.
            marks=pytest.mark.slow if change in neighbours.IMPORTS else [],
        )
        for change in (*neighbours.RESET, *neighbours.PUT_BACK, *neighbours.LASTS)
    ],
)
def test_changed_settings_are_named_and_reset(change):
    state, before = ProcessState(), {s.name: s.read() for s in process_settings()}
    change()
    changes = state.restore()
    assert bool(changes) == (change is not neighbours.random_numbers)
    assert all(one.harmless for one in changes) == (change in neighbours.HARMLESS)
    if change not in neighbours.IMPORTS:
        assert bool(lasting(changes)) == (change not in neighbours.RESET)
    if change not in neighbours.LASTS:
        assert {s.name: s.read() for s in process_settings()} == before
        assert state.restore() == []


def test_a_pending_alarm_is_cancelled():
    signal.setitimer(signal.ITIMER_REAL, 0)  # The test's own timeout.
    state = ProcessState()
    signal.alarm(3600)
    assert [change.what for change in state.restore()] == ["pending alarm (from False to True)"]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_threads_that_end_do_not_count_as_lasting():
    state = ProcessState()
    timer = threading.Timer(60.0, lambda: None)
    timer.start()
    timer.cancel()
    assert state.restore() == []


def test_settings_changed_by_an_import_count_as_lasting(tmp_path, monkeypatch):
    (tmp_path / "sets_precision.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    torch.set_float32_matmul_precision("highest")
    state = ProcessState()
    import sets_precision  # noqa: F401

    torch.set_float32_matmul_precision("medium")
    warnings.simplefilter("ignore")
    changes = state.restore()
    assert "float32_matmul_precision (from highest to medium)" in lasting(changes)
    assert "warnings" not in lasting(changes)


def test_new_attributes_of_torch_are_not_reported_as_changes():
    state = ProcessState()
    torch.nn.functional.of_my_own = torch.nn.Linear.of_my_own = len
    try:
        assert state.restore() == []
    finally:
        del torch.nn.functional.of_my_own, torch.nn.Linear.of_my_own


def test_a_block_leaves_random_numbers_unchanged():
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.uniform()
    torch.manual_seed(3)
    np.random.seed(3)
    with left_as_found():
        neighbours.random_numbers()
        neighbours.threads()
    assert (torch.rand(1), np.random.uniform()) == expected


def test_a_block_that_fails_is_reset_too():
    threads = torch.get_num_threads()
    with suppress(ZeroDivisionError), left_as_found():
        neighbours.threads()
        raise ZeroDivisionError
    assert torch.get_num_threads() == threads
