"""What holds for the whole suite: the same tests find the same each time, on every core."""

import os
import random
import signal

# A shell ignores Ctrl-C on behalf of what it starts in the background, and nohup the loss of the
# terminal. What they start inherits it: commands under test would not be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before torch is imported: tests run side by side, and each operation is small.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's workers give way to whatever else runs here: beside busy loops, a test would never end.
os.environ.setdefault("RAY_worker_niceness", "0")

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests import minutes
from tests.object_store import CREDENTIALS, ObjectStore

# Before any Ray starts, so that its workers have them too. Nobody's real ones are ever used.
os.environ.update(CREDENTIALS)

# A suite that draws other cases each time fails on whoever comes next, not on who broke it.
# HYPOTHESIS_PROFILE=explore looks further, for as long as one likes.
settings.register_profile("repeatable", derandomize=True, deadline=None)
# HYPOTHESIS_PROFILE=thorough is for CI, where a few tests try ten thousand cases.
settings.register_profile("thorough", derandomize=True, deadline=None, max_examples=2500)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hand out whole files, those with Ray first, and tests of the other tiers one by one.

    A file's fixtures are then made once, each worker starts at most one Ray of its own, and what
    takes longest does not start last.
    """
    with_ray = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in with_ray)  # Stable.
    for item in items:
        if not (item.get_closest_marker("slow") or item.get_closest_marker("full")):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.hookimpl(tryfirst=True)  # Before any fixture draws.
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start each test from the same random state, whatever ran before it in this process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print where the time went."""
    if hasattr(terminalreporter.config, "workerinput"):
        return  # A worker's tests are among those of the process that started it.
    reports = [
        (report.nodeid, report.duration)
        for kind in ("passed", "failed", "error", "skipped", "")
        for report in terminalreporter.stats.get(kind, ())
        if isinstance(report, pytest.TestReport)  # No file that can't be read.
    ]
    terminalreporter.section("minutes of all workers by folder")
    for line in minutes.lines(minutes.added_up(minutes.seconds_by_folder(reports))):
        terminalreporter.line(line)


@pytest.fixture(scope="session")
def object_store():
    """An S3-compatible server; started when the first test asks for it."""
    store = ObjectStore()
    yield store
    store.stop()


@pytest.fixture
def store_url(object_store, tmp_path, monkeypatch):
    """Where results may lie on the server. Copies are kept in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return object_store.new()
