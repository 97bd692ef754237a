"""The driver is killed at moments drawn by a seed, and started again each time."""

import os
import random
import time
import uuid
from pathlib import Path

import pytest

from .comparison import assert_equal_results
from .test_interruption import LONGER, finish, start

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

STORED = ("trials/*.parquet", "snapshots/*/*.json", "measures/*.parquet", "epochs/*.parquet")


def processes_of(marker):
    """Ids of the processes that were started, by whatever others, with ``marker`` around them."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:  # It ended meanwhile, or is another user's.
            continue
    return found


def orphaned_segments():
    """Files of shared memory that no process has open or mapped."""
    segments = {str(path) for path in Path("/dev/shm").iterdir()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            used = (process / "maps").read_text()
            opened = {os.readlink(path) for path in (process / "fd").iterdir()}
        except OSError:
            continue
        segments -= opened | {path for path in segments if path in used}
    return segments


def stored(folder):
    """How much is stored: grows with all that a run does, and says how far it is."""
    return sum(1 for pattern in STORED for _ in folder.glob(pattern))


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.full)])
def test_kills_of_the_driver_change_no_table_and_leave_nothing_behind(
    kills, made_once, small_study, tmp_path, monkeypatch
):
    study, undisturbed = small_study(**LONGER), made_once(**LONGER)
    disturbed = tmp_path / "disturbed"
    marker, temporary = f"of-{uuid.uuid4().hex}", tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("MARKER", marker)
    orphans = orphaned_segments()
    # From before anything is stored (planning) to when only measures are missing (draining).
    moments = random.Random(0)
    shares = sorted(moments.random() for _ in range(kills))
    for share in shares:
        process = start(study, disturbed)
        moment = int(share * stored(undisturbed))
        while process.poll() is None and not (disturbed.is_dir() and stored(disturbed) >= moment):
            time.sleep(0.05)
        assert process.poll() in (None, 0)  # A fast machine may be done before it was looked at.
        process.kill()
        process.communicate()
    finish(start(study, disturbed))
    assert_equal_results(disturbed, undisturbed)

    deadline = time.monotonic() + 600  # Two agents of Ray end late.
    while left := set(processes_of(marker)) - {os.getpid()}:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
    while left := orphaned_segments() - orphans:  # Others' are open to nobody for a moment, too.
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
    # Ray keeps its logs, there and only there.
    assert {path.name for path in temporary.iterdir()} <= {"ray"}
