"""The lease on results in an object store: at most one run at a time.

A store has no locks that end with their process. So each run keeps a lease: its own object in
``.leases``, rewritten every few seconds. A run first writes its lease, then checks for other
leases, and yields if it finds one. The second run cannot miss the first lease, so two runs never
work at the same time. A lease that is no longer renewed expires; after a crash, the next run waits
for that, at most a minute. All times are the store's, so local clocks need not be right.

One case remains: a process suspended for longer than a minute (a sleeping laptop) may write once
more before it notices that its lease has expired. It then stops as on Ctrl-C, and the rows it
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

from orchestrator.errors import InUseError, StorageError
from orchestrator.results.store.lock import LockHolder
from orchestrator.results.store.store_path import Stat, StorePath

logger = logging.getLogger(__name__)

RENEWAL_SECONDS = 10.0
EXPIRY_SECONDS = 60.0
LOOK_SECONDS = 1.0  # Polling faster is useless: object times are whole seconds.


class StoreLease:
    """A lease on a results folder in an object store, used like :class:`FolderLock`.

    Args:
        folder: The results folder.
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
        """Keep the lease within the ``with`` block, which may be nested.

        Raises:
            ResultsError: If another process is working on the folder.
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
        """Return the process that has the lease by this machine's clock, or None."""
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
        """Write the lease; return once no other lease exists, raise if another is renewed."""
        first_seen: dict[StorePath, Stat] = {}
        while True:
            self._renew()  # Its new time is the store's current time.
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
                    "%s: waiting at most %g s to check whether another run is still active",
                    self._folder,
                    EXPIRY_SECONDS,
                )
            for path, stat in found.items():
                if first_seen.setdefault(path, stat) != stat:
                    raise InUseError(
                        f"{self._folder}: in use by {_holder(path) or 'another process'}",
                        "wait for it to finish or stop it; only one run at a time may write here",
                    )
            time.sleep(LOOK_SECONDS)

    def _renew(self) -> None:
        self._own.write_bytes(self._content)
        self._renewed_at, self._out_of_touch = time.time(), False

    def _keep(self) -> None:
        """Renew the lease until it is released; stop the run if the lease expires first."""
        while not self._released.wait(RENEWAL_SECONDS):
            try:
                if self._own.exists() and time.time() - self._renewed_at < EXPIRY_SECONDS:
                    self._renew()
                    continue
            except StorageError as error:  # Any other access to the store ends the run.
                self._out_of_touch = True
                logger.info("%s: lease not renewed: %s", self._own, error)
                continue
            if not self._released.is_set():
                logger.error("%s: the lease expired during the run; stopping", self._folder)
                os.kill(os.getpid(), signal.SIGINT)
            return

    def _release(self) -> None:
        self._released.set()
        self._keeper.join(RENEWAL_SECONDS)  # It must not rewrite the lease.
        if self._out_of_touch or self._keeper.is_alive():
            return  # The store is unreachable; the lease will expire.
        try:
            self._own.unlink(missing_ok=True)
        except StorageError as error:
            logger.warning("%s: lease not released: %s", self._own, error)


def _holder(lease: StorePath) -> LockHolder | None:
    try:
        return LockHolder(**json.loads(lease.read_bytes()))
    except FileNotFoundError:  # Released since the listing.
        return None
