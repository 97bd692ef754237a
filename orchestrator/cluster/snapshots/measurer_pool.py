"""The measurers of a run: started when they have work, and kept until the run ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.cluster.processes.session import Slots
from orchestrator.cluster.snapshots.measurer import Measurer
from orchestrator.cluster.work_items import WorkItem
from orchestrator.errors import ResourcesError, error_line
from orchestrator.results import ResultsFolder
from orchestrator.study.spec import Study

MOST_FAILED_STARTS = 3
WAIT_SECONDS = 1.0

NewMeasurer = Callable[[], Any]


@dataclass
class Worker:
    """A measurer and its assigned work items, oldest first.

    A measurer gets no work items before it runs, because it may wait long for a free slot.
    """

    actor: Any
    starting: Any
    ready: bool = False
    work_items: deque[tuple[Any, WorkItem]] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)


class MeasurerPool:
    """The measurers of a run. One dispatcher at a time uses them.

    Args:
        new_measurer: Starts one measurer.
        most: Maximum number of measurers.

    Attributes:
        workers: The measurers, including those that are still starting.
    """

    def __init__(self, new_measurer: NewMeasurer, most: int) -> None:
        self.most = most
        self.workers: list[Worker] = []
        self._new_measurer = new_measurer
        self._failed_starts = 0  # Consecutive failures.

    def grow(self, number: float) -> None:
        """Start measurers until there are ``number``, or as many as the pool may have."""
        while len(self.workers) < min(number, self.most):
            actor = self._new_measurer()
            self.workers.append(Worker(actor, starting=actor.ready.remote()))

    def complete(self, number: int) -> None:
        """Start missing measurers and wait until all are ready.

        Raises:
            ResourcesError: If several measurers in a row die while starting.
        """
        self.grow(number)
        while starting := [worker.starting for worker in self.workers if not worker.ready]:
            ray.wait(starting, timeout=WAIT_SECONDS)  # In short steps, so that Ctrl-C gets through.
            self.check_started()
            self.grow(number)

    def check_started(self) -> None:
        """Note which measurers are ready, and remove those that died while starting.

        Raises:
            ResourcesError: If several measurers in a row died.
        """
        for worker in list(self.workers):
            if worker.ready or not ray.wait([worker.starting], timeout=0)[0]:
                continue
            try:
                ray.get(worker.starting)
                worker.ready = True
                self._failed_starts = 0
            except RayTaskError as error:  # The measurer cannot reach the results.
                raise error.cause or error from None
            except RayError as error:  # Killed or out of memory.
                self.workers.remove(worker)
                self._failed_starts += 1
                if self._failed_starts >= MOST_FAILED_STARTS:
                    raise ResourcesError(
                        f"{self._failed_starts} measurers died as they started: "
                        f"{error_line(error)}",
                        "check that enough memory is free, then run the same command again to "
                        "resume",
                    ) from error

    def end(self, worker: Worker) -> None:
        """End one measurer."""
        ray.kill(worker.actor)
        self.workers.remove(worker)

    def shrink(self, number: int) -> None:
        """End idle measurers beyond ``number``, to free their slots."""
        for worker in self.workers[number:]:
            self.end(worker)

    def end_all(self) -> None:
        """End all measurers."""
        ended, self.workers[:] = list(self.workers), []
        for worker in ended:
            ray.kill(worker.actor)


@contextmanager
def measurer_pool(
    folder: ResultsFolder, study: Study, data: Any, slots: Slots
) -> Iterator[MeasurerPool]:
    """Provide the measurers of a study; end them when the block ends.

    Args:
        folder: Results folder.
        study: The study.
        data: Its data sets.
        slots: Slots of the cluster.
    """
    needs, cpus = study.resources.measurer, slots.measurer_cpus
    arguments = str(folder.path), study.model_dump_json(), data, max(1, int(cpus))
    measurer: Any = Measurer
    options = measurer.options(
        num_cpus=cpus,
        num_gpus=needs.gpus,
        resources=dict(needs.custom),
        scheduling_strategy="SPREAD",
    )
    pool = MeasurerPool(lambda: options.remote(*arguments), slots.most_measurers)
    try:
        yield pool
    finally:
        pool.end_all()
