"""Processes and shared memory that outlive what started them."""

import os
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def nothing_left():
    """What is started meanwhile must leave no process and no shared memory, or time is up."""
    marker, orphans = f"of-{uuid.uuid4().hex}", orphaned_segments()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MARKER", marker)
        yield
    deadline = time.monotonic() + 600  # Two agents of Ray end late.
    while left := set(processes_of(marker)) - {os.getpid()}:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
    while left := orphaned_segments() - orphans:  # Others' are open to nobody for a moment, too.
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


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
