from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import ResultsError, StorageError
from orchestrator.results.store import lease
from orchestrator.results.store.lease import StoreLease
from orchestrator.results.store.lock import LockHolder
from orchestrator.results.store.store_path import StorePath, locate


@pytest.fixture
def folder(store_url: str, monkeypatch: pytest.MonkeyPatch) -> StorePath:
    """Where leases are short; the store tells times in whole seconds."""
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.5)
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 4.0)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.2)
    path = locate(store_url)
    assert isinstance(path, StorePath)
    return path


def leases(folder: StorePath) -> list[StorePath]:
    return list((folder / ".leases").objects())


def test_a_second_lease_is_refused_and_names_the_holder(folder: StorePath) -> None:
    first, second = StoreLease(folder), StoreLease(folder)
    assert second.holder() is None
    with first():
        holder = second.holder()
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
        message = f"in use by process {os.getpid()} on {socket.gethostname()}, since {holder.since}"
        with pytest.raises(ResultsError, match=re.escape(message)), second():
            pytest.fail("entered")
        assert len(leases(folder)) == 1
        with first():
            pass
        assert second.holder() == holder
    assert leases(folder) == []
    with second():
        pass
    assert second.holder() is None


def test_the_lease_is_released_if_its_holder_fails(folder: StorePath) -> None:
    with pytest.raises(ZeroDivisionError), StoreLease(folder)():
        raise ZeroDivisionError
    assert leases(folder) == []


@pytest.mark.slow
def test_the_lease_of_a_killed_process_expires(
    folder: StorePath, caplog: pytest.LogCaptureFixture
) -> None:
    left = folder / ".leases" / "left.json"
    left.write_bytes(b'{"pid": 1, "host": "gone", "since": "then"}')  # And then never again.
    assert StoreLease(folder).holder() == LockHolder(1, "gone", "then")
    with StoreLease(folder)():
        assert left not in leases(folder)
    assert "waiting at most 4 s to check whether another run is still active" in caplog.text


@pytest.mark.parametrize(
    "attempt", [0, *(pytest.param(again, marks=pytest.mark.slow) for again in (1, 2))]
)
def test_concurrent_leases_never_overlap(folder: StorePath, attempt: int) -> None:
    together, inside = threading.Barrier(3), threading.Semaphore(1)
    refused: list[str] = []
    both: list[bool] = []

    def run() -> None:
        together.wait()
        try:
            with StoreLease(folder)():
                both.append(not inside.acquire(blocking=False))
                while len(refused) < 2:  # The others find out that this one is alive.
                    ended.wait(0.05)
                inside.release()
        except ResultsError as error:
            refused.append(str(error))

    ended = threading.Event()
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) >= 2
    assert not any(both)
    assert leases(folder) == []


def test_a_holder_that_lost_its_lease_is_interrupted(folder: StorePath, caplog: Any) -> None:
    with StoreLease(folder)():
        (own,) = leases(folder)
        own.unlink()  # As the next run does, after this one was stopped for too long.
        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(600)
    assert "the lease expired during the run; stopping" in caplog.text
    assert leases(folder) == []


class Outages:
    """Makes the store unreachable for renewals, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.renewed = self.failed = 0
        self.since: float | None = None
        for name in ("exists", "write_bytes"):
            monkeypatch.setattr(StorePath, name, self.through(getattr(StorePath, name)))

    def through(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def reached(path: StorePath, *content: bytes) -> Any:
            if self.since is not None:
                path = replace(path, query=re.sub(r":\d+", ":9", path.query))
            try:
                found = method(path, *content)
            except StorageError:
                self.failed += 1
                raise
            self.renewed += len(content)
            return found

        return reached


@pytest.mark.slow
def test_a_holder_that_could_not_renew_its_lease_is_interrupted(
    folder: StorePath, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outages = Outages(monkeypatch)
    with StoreLease(folder)():
        (own,) = leases(folder)
        outages.since = time.time()
        while time.time() - outages.since < lease.EXPIRY_SECONDS or not outages.failed:
            threading.Event().wait(0.1)
        outages.since = None
        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(600)
    assert "the lease expired during the run; stopping" in caplog.text
    # Not given back: whoever was out of touch may no longer be who holds it.
    assert leases(folder) == [own]


@pytest.mark.slow
def test_an_outage_shorter_than_the_lease_is_survived(
    folder: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 60.0)
    outages = Outages(monkeypatch)
    with StoreLease(folder)():
        outages.since = time.time()
        while not outages.failed:
            threading.Event().wait(0.1)
        outages.since, renewed = None, outages.renewed
        while outages.renewed == renewed:
            threading.Event().wait(0.1)
    assert leases(folder) == []
