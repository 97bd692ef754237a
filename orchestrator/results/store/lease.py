"""Who works on results on an object store: at most one run at a time.

A store has no locks that end with their process. So whoever works there keeps a lease: an object
of its own in ``.leases``, written anew every few seconds. Two never work at once, because each
first writes its lease and then looks for others, and yields if there is one; whoever comes second
cannot miss the first. A lease that is not renewed any more ends: after a crash the next run waits
for that, at most a minute. All times are the store's, so that no clock has to be right.

What that cannot prevent: a process that is stopped for longer than a minute (a laptop asleep) may
write once more before it finds that its lease has ended. It then stops as on Ctrl-C, and what it
wrote are rows that it would have written anyway.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

from orchestrator.errors import ResultsError, StorageError
from orchestrator.results.store.lock import LockHolder
from orchestrator.results.store.store_path import Stat, StorePath

logger = logging.getLogger(__name__)

RENEWAL_SECONDS = 10.0
EXPIRY_SECONDS = 60.0
LOOK_SECONDS = 1.0  # No more often: the times of objects are whole seconds.


class StoreLease:
    """A lease on a results folder on an object store; used as :class:`FolderLock` is.

    Args:
        folder: The results.
    """

    def __init__(self, folder: StorePath) -> None:
        self._folder = folder
        self._leases = folder / ".leases"
        self._own = self._leases / f"{uuid.uuid4().hex}.json"
        self._content = b""
        self._depth = 0
        self._renewed_at = 0.0
        self._out_of_touch = False
        self._released = threading.Event()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lease; within, it may be asked for again.

        Raises:
            ResultsError: If another process works on the folder.
            StorageError: If the store cannot be reached or refuses.
        """
        if self._depth == 0:
            self._acquire()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._release()

    def holder(self) -> LockHolder | None:
        """Who holds the lease; None if nobody does. Goes by the clock of this machine."""
        for path, stat in self._leases.objects().items():
            if time.time_ns() - stat.st_mtime_ns < EXPIRY_SECONDS * 1e9:
                return _holder(path)
        return None

    def _acquire(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder = LockHolder(os.getpid(), socket.gethostname(), now)
        self._content = json.dumps(asdict(holder)).encode()
        try:
            self._yield_to_others()
        except BaseException:
            self._own.unlink(missing_ok=True)
            raise
        self._released.clear()
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._keeper.start()

    def _yield_to_others(self) -> None:
        """Write the lease; return once no other is there, give up if another is renewed."""
        first_seen: dict[StorePath, Stat] = {}
        while True:
            self._renew()  # The time it gets is the store's now.
            found = self._leases.objects()
            now = found.pop(self._own).st_mtime_ns
            for path, stat in list(found.items()):
                if now - stat.st_mtime_ns > EXPIRY_SECONDS * 1e9:
                    path.unlink(missing_ok=True)
                    del found[path]
            if not found:
                return
            if not first_seen:
                logger.warning(
                    "%s: waiting at most %g s to see whether another run still works on it",
                    self._folder,
                    EXPIRY_SECONDS,
                )
            for path, stat in found.items():
                if first_seen.setdefault(path, stat) != stat:
                    raise ResultsError(
                        f"{self._folder}: in use by {_holder(path) or 'another process'}",
                        "wait until it has ended, or end it; only one run at a time may write here",
                    )
            time.sleep(LOOK_SECONDS)

    def _renew(self) -> None:
        self._own.write_bytes(self._content)
        self._renewed_at, self._out_of_touch = time.time(), False

    def _keep(self) -> None:
        """Renew the lease until it is given back; end the run if it ends before."""
        while not self._released.wait(RENEWAL_SECONDS):
            try:
                if self._own.exists() and time.time() - self._renewed_at < EXPIRY_SECONDS:
                    self._renew()
                    continue
            except StorageError as error:  # All else that asks the store ends the run with that.
                self._out_of_touch = True
                logger.info("%s: not renewed: %s", self._own, error)
                continue
            if not self._released.is_set():
                logger.error("%s: the lease has ended before this run: it stops", self._folder)
                os.kill(os.getpid(), signal.SIGINT)
            return

    def _release(self) -> None:
        self._released.set()
        self._keeper.join(RENEWAL_SECONDS)  # It must not write the lease once more.
        if self._out_of_touch or self._keeper.is_alive():
            return  # The store is lost; the lease ends by itself.
        try:
            self._own.unlink(missing_ok=True)
        except StorageError as error:
            logger.warning("%s: not given back: %s", self._own, error)


def _holder(lease: StorePath) -> LockHolder | None:
    try:
        return LockHolder(**json.loads(lease.read_bytes()))
    except FileNotFoundError:  # Given back meanwhile.
        return None
