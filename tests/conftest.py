"""Settings of the whole suite: every test gives the same result each time, on every core."""

import os
import random
import signal

# Processes that a shell starts in the background ignore Ctrl-C, and those that nohup starts ignore
# the loss of the terminal. Commands under test would inherit this and could not be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before torch is imported: tests run in parallel, and each operation is small.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# By default Ray's workers have low priority: beside busy loops, a test would never end.
os.environ.setdefault("RAY_worker_niceness", "0")

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests import minutes
from tests.object_store import CREDENTIALS, AzureStore, GoogleStore, ObjectStore

# Before any Ray starts, so that its workers get them too. Real credentials are never used.
os.environ.update(CREDENTIALS)

# If each run drew other cases, a failure could hit a later change than the one that caused it.
# HYPOTHESIS_PROFILE=explore searches further, for as long as you like.
settings.register_profile("repeatable", derandomize=True, deadline=None)
# HYPOTHESIS_PROFILE=thorough is for CI: a few tests try ten thousand cases.
settings.register_profile("thorough", derandomize=True, deadline=None, max_examples=2500)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distribute whole files, those with Ray first, and tests of the other tiers one by one.

    A file's fixtures are then created once, each worker starts at most one Ray of its own, and the
    longest tests do not start last.
    """
    with_ray = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in with_ray)  # Stable.
    for item in items:
        if not (item.get_closest_marker("slow") or item.get_closest_marker("full")):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.hookimpl(tryfirst=True)  # Before any fixture draws.
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start each test from the same random state, regardless of earlier tests in the process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the minutes per folder."""
    if hasattr(terminalreporter.config, "workerinput"):
        return  # The process that started this worker reports its tests.
    reports = [
        (report.nodeid, report.duration)
        for kind in ("passed", "failed", "error", "skipped", "")
        for report in terminalreporter.stats.get(kind, ())
        if isinstance(report, pytest.TestReport)  # Not a file that failed to load.
    ]
    terminalreporter.section("minutes of all workers per folder")
    for line in minutes.lines(minutes.added_up(minutes.seconds_by_folder(reports))):
        terminalreporter.line(line)


@pytest.fixture(scope="session")
def object_store(request):
    """A server, by default an S3-compatible one, started on first use."""
    kind = getattr(request, "param", "s3")
    store = {"s3": ObjectStore, "gs": GoogleStore, "az": AzureStore}[kind]()
    yield store
    store.stop()


@pytest.fixture
def store_url(object_store, tmp_path, monkeypatch):
    """Address for results on the server. Local copies are kept in the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return object_store.new()
