"""The dispatcher: gives committed snapshots to measurers and replaces measurers that die."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.cluster.snapshots.measurer import Measurer
from orchestrator.cluster.work_items import Measured, MeasureFailure, MeasureItem, part_name
from orchestrator.errors import ResourcesError, StorageError, error_line
from orchestrator.results import ResultsFolder, storing, write_part

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
QUEUED_PER_MEASURER = 2  # One running, one queued: a measurer never idles between work items.
LOOK_SECONDS = 1.0
_DIED = (
    "its measurer died (killed or out of memory? a smaller measuring.examples_per_pass or fewer "
    "measurers need less memory)"
)

FindOrders = Callable[[], list[MeasureItem]]
NewMeasurer = Callable[[], Any]


@dataclass
class _Worker:
    """A measurer and its assigned work items, oldest first.

    A measurer gets no work items before it runs, because it may wait long for a free slot.
    """

    actor: Any
    starting: Any
    ready: bool = False
    work_items: deque[tuple[Any, MeasureItem]] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)


class Dispatcher:
    """The thread of the driver that runs from before the first trial until all is measured.

    Correctness never depends on notifications of snapshots: ``find_work`` reads the store. If a
    measurer dies or hangs, it is replaced, and only its current work item is charged an attempt.
    The requests of that item are then retried one at a time, which isolates the failing request
    and measures the others. A request gets a failure row after three charged attempts. A full disk
    ends the dispatcher without charging an attempt.

    Args:
        folder: Results folder for the failure rows of work items.
        find_work: Returns work items for snapshots that lack rows and were not returned before;
            called every second.
        new_measurer: Starts one measurer.
        reserved: Number of measurers to keep from the start.
        most: Maximum number of measurers.
        timeout: Seconds allowed per work item.
        room: Returns how many measurers currently leave room for training. Idle measurers above
            that number end, because they could block every trial forever after a node is lost.

    Attributes:
        failures: Failed measurements with their reasons.
        error: Error that ended the dispatcher early, if any.
    """

    def __init__(
        self,
        folder: ResultsFolder,
        find_work: FindOrders,
        new_measurer: NewMeasurer,
        *,
        reserved: int,
        most: int,
        timeout: float,
        room: Callable[[], float] = lambda: inf,
    ) -> None:
        self.folder, self.find_work, self.new_measurer = folder, find_work, new_measurer
        self.most, self.timeout, self.room = most, timeout, room
        self.reserved = self.allowed = reserved
        self.failures: list[MeasureFailure] = []
        self.error: BaseException | None = None
        self._room = inf
        self._workers: list[_Worker] = []
        self._queue: deque[MeasureItem] = deque()
        self._failed_starts = 0  # Consecutive failures.
        self._measured: dict[str, str] = {}  # Checkpoint id → trial id.
        self._looked_at = 0.0
        self._draining = threading.Event()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self, prepare: Callable[[Sequence[Any]], None] = lambda measurers: None) -> None:
        """Start the reserved measurers, wait until they are ready, and start dispatching.

        Args:
            prepare: Called with the measurers before the first work item; may replace them with
                :meth:`replaced`.

        Raises:
            ResourcesError: If several measurers in a row die while starting.
        """
        self._complete()
        prepare([worker.actor for worker in self._workers])
        self._thread.start()

    def replaced(self, measurer: Any) -> Any:
        """End a measurer before the first work item, and return a new one once it is ready.

        Raises:
            ResourcesError: As for :meth:`start`.
        """
        ray.kill(measurer)
        self._workers = [worker for worker in self._workers if worker.actor is not measurer]
        self._complete()
        return self._workers[-1].actor

    def _complete(self) -> None:
        """Start missing measurers and wait until all are ready."""
        self._grow()
        while starting := [worker.starting for worker in self._workers if not worker.ready]:
            ray.wait(starting, timeout=LOOK_SECONDS)  # In short steps, as in ``drain``.
            self._check_started()
            self._grow()

    def allow(self, measurers: int) -> None:
        """Allow up to ``measurers`` measurers, as trials free their slots."""
        self.allowed = min(max(self.allowed, measurers), self.most)

    def wake(self) -> None:
        """Check the store now instead of within a second."""
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Number of snapshots that were found and are not measured yet."""
        return len(self._queue) + sum(len(worker.work_items) for worker in list(self._workers))

    @property
    def measured(self) -> int:
        """Number of measured snapshots."""
        return len(self._measured)

    def has_measured(self, trial_id: str) -> bool:
        """Return whether any snapshot of a trial has been measured."""
        return trial_id in list(self._measured.values())

    @property
    def working(self) -> bool:
        """Whether snapshots can be measured now; after the loss of a node, slots may be missing."""
        alive = self._thread.is_alive() and not self._stop.is_set()
        return alive and any(worker.ready for worker in list(self._workers))

    def drain(self) -> None:
        """Wait until every snapshot in the store is measured or given up.

        Raises:
            BaseException: The error that ended the dispatcher's thread, if any.
        """
        self._draining.set()
        self.wake()
        while self._thread.is_alive():
            self._thread.join(0.2)  # In short steps, so that Ctrl-C gets through.
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Stop immediately. The next run redoes interrupted measurements."""
        self._stop.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(5.0)
        elif self._thread.ident is None:  # Not started: preparation did not finish.
            self._end_measurers()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                draining = self._draining.is_set()  # Before the scan: nothing is missed.
                looked = self._find()
                self._grow()
                self._hand_out()
                self._collect()
                if draining and looked and not self.waiting:
                    break
        except BaseException as error:  # ``drain`` raises it in the driver.
            if not self._stop.is_set():
                self.error = error
        finally:
            self._end_measurers()

    def _end_measurers(self) -> None:
        for worker in self._workers:
            ray.kill(worker.actor)
        self._workers.clear()

    def _find(self) -> bool:
        """Scan the store, unless work is waiting and the last scan is less than a second old."""
        if self.waiting and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        self._room = self.room()
        self._queue.extend(self.find_work())
        return True

    def _grow(self) -> None:
        # Beyond the reserved measurers, start only as many as have work.
        wanted = (
            self.allowed
            if not self._thread.is_alive()
            else min(self.allowed, max(len(self._workers), self.waiting))
        )
        room = inf if self._draining.is_set() else self._room
        while len(self._workers) < min(wanted, room):
            actor = self.new_measurer()
            self._workers.append(_Worker(actor, starting=actor.ready.remote()))
        for worker in sorted(self._workers, key=lambda worker: worker.ready):
            if len(self._workers) > room and not worker.work_items:
                ray.kill(worker.actor)
                self._workers.remove(worker)

    def _check_started(self) -> None:
        for worker in list(self._workers):
            if worker.ready or not ray.wait([worker.starting], timeout=0)[0]:
                continue
            try:
                ray.get(worker.starting)
                worker.ready = True
                self._failed_starts = 0
            except RayTaskError as error:  # The measurer cannot reach the results.
                raise error.cause or error from None
            except RayError as error:  # Killed or out of memory.
                self._workers.remove(worker)
                self._failed_starts += 1
                if self._failed_starts >= MOST_ATTEMPTS:
                    raise ResourcesError(
                        f"{self._failed_starts} measurers died as they started: "
                        f"{error_line(error)}",
                        "check that enough memory is free, then run the same command again to "
                        "resume",
                    ) from error

    def _hand_out(self) -> None:
        self._check_started()
        for depth in range(1, QUEUED_PER_MEASURER + 1):
            for worker in self._workers:
                if worker.ready and len(worker.work_items) < depth and self._fits(worker):
                    item = self._queue.popleft()
                    if not worker.work_items:
                        worker.since = time.monotonic()
                    worker.work_items.append((worker.actor.measure.remote(item), item))

    def _fits(self, worker: _Worker) -> bool:
        """Return whether the next work item may queue behind those of ``worker``.

        An item that was charged an attempt never shares a queue. If a measurer dies, the result of
        the preceding item may be lost too, and that item would be charged for a failure that it
        did not cause.
        """
        if not self._queue:
            return False
        alone = self._queue[0].attempts or any(item.attempts for _, item in worker.work_items)
        return not (worker.work_items and alone)

    def _collect(self) -> None:
        # Wait only for the oldest work item of each measurer. ``ray.wait`` returns any of several
        # ready results, and all work items of a dead measurer end together. A wait for all of them
        # could return a younger one forever.
        oldest = [worker.work_items[0][0] for worker in self._workers if worker.work_items]
        if not oldest:
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            return
        ray.wait(oldest, num_returns=1, timeout=LOOK_SECONDS)
        for worker in list(self._workers):
            self._collect_from(worker)

    def _collect_from(self, worker: _Worker) -> None:
        while worker.work_items and ray.wait([worker.work_items[0][0]], timeout=0)[0]:
            reference, item = worker.work_items[0]
            try:
                measured: Measured = ray.get(reference)
            except RayTaskError as error:
                if isinstance(error.cause, StorageError):
                    raise error.cause from None
                self._give_up(item, error_line(error.cause or error), "error")
            except RayError as error:  # The process, its node or a required object was lost.
                self._replace(worker, f"{_DIED}: {error_line(error)}", "error")
                return
            else:
                if not measured.lost:  # Otherwise the next scan of the store finds it missing.
                    self._measured[item.checkpoint_id] = item.trial_id
                self.failures += measured.failures
                if measured.spoilt:
                    worker.work_items.popleft()
                    self._retire(worker, measured.spoilt)
                    return
            worker.work_items.popleft()
            worker.since = time.monotonic()
        if worker.work_items and time.monotonic() - worker.since > self.timeout:
            reason = f"took longer than measuring.timeout ({self.timeout:g} s)"
            self._replace(worker, reason, "timeout")

    def _replace(self, worker: _Worker, reason: str, status: str) -> None:
        """End ``worker``, to be replaced; charge only the work item it was working on."""
        ray.kill(worker.actor)
        self._workers.remove(worker)
        head, *others = (item for _, item in worker.work_items)
        attempts = head.attempts + 1
        logger.warning("%s: %s (attempt %d)", head.checkpoint_id, reason, attempts)
        if attempts < MOST_ATTEMPTS:
            others += [
                replace(head, requests=(request,), attempts=attempts) for request in head.requests
            ]
        else:
            names = ", ".join(head.requests)
            self._give_up(head, f"{names}: given up after {attempts} attempts: {reason}", status)
        self._queue.extendleft(reversed(others))

    def _retire(self, worker: _Worker, reason: str) -> None:
        """End a measurer whose process must not measure anything else; charge no work item."""
        logger.info("replacing a measurer because study code changed its process: %s", reason)
        ray.kill(worker.actor)
        self._workers.remove(worker)
        self._queue.extendleft(item for _, item in reversed(worker.work_items))

    def _give_up(self, item: MeasureItem, reason: str, status: str) -> None:
        rows = [
            {
                "trial_id": item.trial_id,
                "checkpoint_id": item.checkpoint_id,
                "step": item.checkpoint["step"],
                "request": request,
                "measure": request.partition("(")[0],
                "variant": "",
                "status": status,
                "error": reason,
                "written_at": datetime.now(UTC),
            }
            for request in item.requests
        ]
        with storing(self.folder.path):
            write_part(self.folder, "measures", rows, part_name(item))
        self.failures.append(MeasureFailure(item.trial_id, item.checkpoint_id, reason))


def measurer_factory(
    folder: ResultsFolder,
    study_json: str,
    data: Any,
    *,
    cpus: float,
    gpus: float,
    custom: Mapping[str, float],
) -> NewMeasurer:
    """Return a function that starts a measurer for this study."""
    threads = max(1, int(cpus))

    def start() -> Any:
        actor: Any = Measurer
        return actor.options(
            num_cpus=cpus, num_gpus=gpus, resources=dict(custom), scheduling_strategy="SPREAD"
        ).remote(str(folder.path), study_json, data, threads)

    return start
