"""The dispatcher: gives work items to measurers and replaces measurers that die."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.cluster.snapshots.measurer_pool import MeasurerPool, Worker
from orchestrator.cluster.work_items import (
    AuditItem,
    Measured,
    MeasureFailure,
    MeasureItem,
    PairItem,
    WorkItem,
    part_name,
)
from orchestrator.errors import StorageError, error_line
from orchestrator.results import ResultsFolder, storing, write_part

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
QUEUED_PER_MEASURER = 2  # One running, one queued: a measurer never idles between work items.
LOOK_SECONDS = 1.0
START_SECONDS = 5.0  # No other measurer starts for less work than this: a start takes as long.
_DIED = (
    "its measurer died (killed or out of memory? a smaller measuring.examples_per_pass or fewer "
    "measurers need less memory)"
)

FindWork = Callable[[], Sequence[WorkItem]]
Progress = Callable[[str], None]


class Dispatcher:
    """The thread of the driver that runs from before the first trial until all is measured.

    Correctness never depends on notifications of snapshots: ``find_work`` reads the store. If a
    measurer dies or hangs, it is replaced, and only its current work item is charged an attempt.
    The requests of that item are then retried one at a time, which isolates the failing request
    and measures the others. A request gets a failure row after three charged attempts. A full disk
    ends the dispatcher without charging an attempt.

    After the work, the measurers stay in the pool for the next dispatcher. They end if the
    dispatcher is stopped early.

    Args:
        folder: Results folder for the failure rows of work items.
        find_work: Returns work items that were not returned before, such as snapshots that lack
            rows; called every second.
        pool: The measurers.
        reserved: Number of measurers to keep from the start.
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
        find_work: FindWork,
        pool: MeasurerPool,
        *,
        reserved: int,
        timeout: float,
        room: Callable[[], float] = lambda: inf,
    ) -> None:
        self.folder, self.find_work, self.pool = folder, find_work, pool
        self.timeout, self.room = timeout, room
        self.reserved = self.allowed = reserved
        self.failures: list[MeasureFailure] = []
        self.error: BaseException | None = None
        self._room = inf
        self._queue: deque[WorkItem] = deque()
        self._measured: dict[str, str] = {}  # Name of the work item → trial id.
        self._busy_seconds = 0.0  # Of all finished work items together.
        self._given_up = 0
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
        self.pool.complete(self.reserved)
        prepare([worker.actor for worker in self.pool.workers])
        self._thread.start()

    def replaced(self, measurer: Any) -> Any:
        """End a measurer before the first work item, and return a new one once it is ready.

        Raises:
            ResourcesError: As for :meth:`start`.
        """
        self.pool.end(next(one for one in self.pool.workers if one.actor is measurer))
        self.pool.complete(self.reserved)
        return self.pool.workers[-1].actor

    def allow(self, measurers: int) -> None:
        """Allow up to ``measurers`` measurers, as trials free their slots."""
        self.allowed = min(max(self.allowed, measurers), self.pool.most)

    def wake(self) -> None:
        """Check the store now instead of within a second."""
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Number of snapshots that were found and are not measured yet."""
        return len(self._queue) + sum(len(one.work_items) for one in list(self.pool.workers))

    @property
    def measured(self) -> int:
        """Number of measured snapshots."""
        return len(self._measured)

    @property
    def finished(self) -> int:
        """Number of work items that were done or given up."""
        return len(self._measured) + self._given_up

    def has_measured(self, trial_id: str) -> bool:
        """Return whether any snapshot of a trial has been measured."""
        return trial_id in list(self._measured.values())

    @property
    def working(self) -> bool:
        """Whether snapshots can be measured now; after the loss of a node, slots may be missing."""
        alive = self._thread.is_alive() and not self._stop.is_set()
        return alive and any(worker.ready for worker in list(self.pool.workers))

    def drain(self, look: Callable[[], None] = lambda: None, *, until: float = inf) -> bool:
        """Wait until every snapshot in the store is measured or given up.

        Args:
            look: Called again and again meanwhile.
            until: Time on the monotonic clock at which to stop waiting.

        Returns:
            Whether that happened in time. If not, the caller stops the dispatcher.

        Raises:
            BaseException: The error that ended the dispatcher's thread, if any.
        """
        self._draining.set()
        self.wake()
        while self._thread.is_alive():
            if time.monotonic() >= until:
                return False
            self._thread.join(0.2)  # In short steps, so that Ctrl-C gets through.
            look()
        if self.error is not None:
            raise self.error
        return True

    def stop(self) -> None:
        """Stop immediately. The next run redoes interrupted measurements."""
        self._stop.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(5.0)
        elif self._thread.ident is None:  # Not started: preparation did not finish.
            self.pool.end_all()

    def _run(self) -> None:
        done = False
        try:
            while not self._stop.is_set():
                draining = self._draining.is_set()  # Before the scan: nothing is missed.
                looked = self._find()
                self._grow()
                self._hand_out()
                self._collect()
                if draining and looked and not self.waiting:
                    done = True
                    break
        except BaseException as error:  # ``drain`` raises it in the driver.
            if not self._stop.is_set():
                self.error = error
        finally:
            if not done:
                self.pool.end_all()

    def _find(self) -> bool:
        """Scan the store, unless work is waiting and the last scan is less than a second old."""
        if self.waiting and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        self._room = self.room()
        self._queue.extend(self.find_work())
        return True

    def _grow(self) -> None:
        """Start measurers as far as there is work for them and room; end those without room."""
        workers = self.pool.workers
        room = inf if self._draining.is_set() else self._room
        if self._worth_starting:
            self.pool.grow(min(self.allowed, self.waiting, room))
        for worker in sorted(workers, key=lambda worker: worker.ready):
            if len(workers) > room and not worker.work_items:
                self.pool.end(worker)

    @property
    def _worth_starting(self) -> bool:
        """Whether the measurers need longer for their work than another one needs to start."""
        if not self._measured or not self.pool.workers:
            return True
        seconds = self._busy_seconds / len(self._measured)
        return self.waiting * seconds / len(self.pool.workers) > START_SECONDS

    def _hand_out(self) -> None:
        self.pool.check_started()
        for depth in range(1, QUEUED_PER_MEASURER + 1):
            if depth > 1 and len(self._queue) <= len(self.pool.workers):
                break  # One of the last would wait while another measurer is free.
            for worker in self.pool.workers:
                if worker.ready and len(worker.work_items) < depth and self._fits(worker):
                    item = self._queue.popleft()
                    if not worker.work_items:
                        worker.since = time.monotonic()
                    start = getattr(worker.actor, item.task).remote
                    worker.work_items.append((start(item), item))

    def _fits(self, worker: Worker) -> bool:
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
        oldest = [one.work_items[0][0] for one in self.pool.workers if one.work_items]
        if not oldest:
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            return
        ray.wait(oldest, num_returns=1, timeout=LOOK_SECONDS)
        for worker in list(self.pool.workers):
            self._collect_from(worker)

    def _collect_from(self, worker: Worker) -> None:
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
                if measured.refused:
                    self._retire(worker, str(measured.spoilt))
                    return
                if not measured.lost:  # Otherwise the next scan of the store finds it missing.
                    self._measured[item.name] = item.trial_id
                    self._busy_seconds += time.monotonic() - worker.since
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

    def _replace(self, worker: Worker, reason: str, status: str) -> None:
        """End ``worker``, to be replaced; charge only the work item it was working on."""
        self.pool.end(worker)
        head, *others = (item for _, item in worker.work_items)
        attempts = head.attempts + 1
        logger.warning("%s: %s (attempt %d)", head.name, reason, attempts)
        if attempts < MOST_ATTEMPTS:
            others += head.retried()
        else:
            names = f"{', '.join(head.requests)}: " if isinstance(head, MeasureItem) else ""
            self._give_up(head, f"{names}given up after {attempts} attempts: {reason}", status)
        self._queue.extendleft(reversed(others))

    def _retire(self, worker: Worker, reason: str) -> None:
        """End a measurer whose process must not measure anything else; charge no work item."""
        logger.info("replacing a measurer because study code changed its process: %s", reason)
        self.pool.end(worker)
        self._queue.extendleft(item for _, item in reversed(worker.work_items))

    def _give_up(self, item: WorkItem, reason: str, status: str) -> None:
        self._given_up += 1
        if isinstance(item, MeasureItem):
            self._write_failure(item, reason, status)
        else:
            reason = f"{item.task}: {reason}"
        self.failures.append(MeasureFailure(item.trial_id, item.name, reason))

    def _write_failure(self, item: MeasureItem, reason: str, status: str) -> None:
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


def work_off(
    work_items: Sequence[AuditItem | PairItem],
    folder: ResultsFolder,
    pool: MeasurerPool,
    progress: Progress,
    *,
    until: float = inf,
) -> list[str]:
    """Let the measurers do some work items, without a time limit for each.

    Args:
        work_items: The work items, all of one kind.
        folder: Results folder.
        pool: The measurers; afterwards they are free for other work.
        progress: Called with one line after each work item.
        until: Time on the monotonic clock at which to stop.

    Returns:
        Failed work items with their reasons; the remaining work items are still done.

    Raises:
        ResourcesError: If several measurers in a row die while starting.
        StorageError: If results cannot be stored.
    """
    if not work_items:
        return []
    listed = iter([list(work_items)])
    dispatcher = Dispatcher(folder, lambda: next(listed, []), pool, reserved=1, timeout=inf)
    told = 0

    def tell() -> None:
        nonlocal told
        while told < dispatcher.finished:
            told += 1
            progress(f"{work_items[0].task} {told}/{len(work_items)}")

    try:
        dispatcher.start()
        dispatcher.allow(pool.most)
        dispatcher.drain(tell, until=until)
    finally:
        dispatcher.stop()
    return [str(failure) for failure in dispatcher.failures]
