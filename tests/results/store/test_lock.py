from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import ResultsError
from orchestrator.results.store.lock import FolderLock

HOLD = """
import sys, time
from pathlib import Path
from orchestrator.results.store.lock import FolderLock
with FolderLock(Path(sys.argv[1]))():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_lock_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert second.holder() is None
    with first():
        holder = second.holder()
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
        assert first.holder() == holder
        message = f"in use by process {os.getpid()} on {socket.gethostname()}, since {holder.since}"
        with pytest.raises(ResultsError, match=re.escape(message)), second():
            pytest.fail("entered")
    with second():
        pass
    assert second.holder() is None


def test_the_same_lock_can_be_entered_again(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with lock():
        with lock():
            pass
        assert lock.holder() is not None
        with pytest.raises(ResultsError, match="in use"), FolderLock(tmp_path)():
            pytest.fail("entered")
    assert lock.holder() is None


def test_the_lock_is_released_if_its_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), FolderLock(tmp_path)():
        raise ZeroDivisionError
    with FolderLock(tmp_path)():
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused_in_one_sentence(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = FolderLock(tmp_path)
    message = f"{tmp_path}: files on this file system cannot be locked ({os.strerror(number)})"
    with pytest.raises(ResultsError, match=re.escape(message)) as refused, lock():
        pytest.fail("entered")
    assert "s3://" in str(refused.value.hint)
    assert list(tmp_path.iterdir()) == []
    assert lock.holder() is None  # status, query and report still work
    monkeypatch.undo()
    with lock():
        assert lock.holder() is not None


def test_other_failures_to_lock_are_raised_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="input/output error"), FolderLock(tmp_path)():
        pytest.fail("entered")


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ResultsError, match=f"process {process.pid} on"), FolderLock(tmp_path)():
            pytest.fail("entered")
        process.kill()
        process.wait()
    # It could not clear its name away, which then counts for nothing.
    assert json.loads((tmp_path / ".lock-holder.json").read_text())["pid"] == process.pid
    lock = FolderLock(tmp_path)
    assert lock.holder() is None
    with lock():
        holder = lock.holder()
        assert holder is not None
        assert holder.pid == os.getpid()
