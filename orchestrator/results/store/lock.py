"""The lock on a results folder on disk: at most one run at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.errors import InUseError, ResultsError
from orchestrator.results.store.atomic import write_atomically
from orchestrator.results.store.file_locks import require_file_locks

PATIENCE_SECONDS = 0.5  # A check for the holder also takes the lock for an instant.


@dataclass(frozen=True)
class LockHolder:
    """The process that is working on a results folder.

    Attributes:
        pid: Process id.
        host: Name of its machine.
        since: Time at which it took the lock, ISO 8601 in UTC.
    """

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class FolderLock:
    """An operating-system lock on ``.lock``, released however the process ends.

    The same object may be entered again while locked; every other object, in this process or
    another, is refused.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / ".lock", timeout=PATIENCE_SECONDS, thread_local=False)
        # Not in the lock file itself: every attempt to lock truncates it.
        self._holder_file = folder / ".lock-holder.json"

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Keep the folder locked within the ``with`` block.

        Raises:
            ResultsError: If another process is working on the folder, or its file system does not
                support locks.
        """
        require_file_locks(self._folder)
        try:
            self._lock.acquire()
        except Timeout:
            raise InUseError(
                f"{self._folder}: in use by {self._read_holder() or 'another process'}",
                "wait for it to finish or stop it; only one run at a time may write here",
            ) from None
        try:
            if self._lock.lock_counter == 1:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                holder = LockHolder(os.getpid(), socket.gethostname(), now)
                write_atomically(self._holder_file, json.dumps(asdict(holder)))
            yield
        finally:
            if self._lock.lock_counter == 1:
                self._holder_file.unlink(missing_ok=True)
            self._lock.release()

    def holder(self) -> LockHolder | None:
        """Return the process that has the lock, or None if the folder is not locked."""
        if not self._lock.is_locked:
            probe = FileLock(self._folder / ".lock", timeout=0)
            try:
                require_file_locks(self._folder)
                with probe:
                    return None
            except Timeout:
                pass
            except (OSError, ResultsError):
                return None  # A folder that cannot be written to or locked is not locked.
        return self._read_holder() or LockHolder(0, "unknown host", "unknown")

    def _read_holder(self) -> LockHolder | None:
        try:
            return LockHolder(**json.loads(self._holder_file.read_text()))
        except FileNotFoundError:  # The process has taken the lock, but not yet written its entry.
            return None
