"""Tasks on snapshots other than training and measuring, run in parallel under Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.cluster.processes.own_code import has_own_parts
from orchestrator.cluster.processes.session import Slots
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.errors import error_line
from orchestrator.results import ResultsFolder
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial

Item = TypeVar("Item")
Progress = Callable[[str], None]
Task = Callable[[Item, str, str, SharedData, int], None]
"""Called with a work item, the results folder, the study as JSON, the data and a thread count."""

MOST_RETRIES = 2  # After a process was killed or ran out of memory.


def run_tasks(
    what: str,
    task: Task[Item],
    work_items: Mapping[str, Item],
    folder: ResultsFolder,
    study: Study,
    trials: Iterable[Trial],
    data: SharedData,
    slots: Slots,
    progress: Progress,
) -> list[str]:
    """Run one task per work item, at most ``slots.most_measurers`` in parallel.

    Args:
        what: Name of the task in messages.
        task: Function that stores its own results.
        work_items: Work items by their names in messages.
        folder: Results folder.
        study: The study.
        trials: Trials of the study.
        data: Data sets of the study.
        slots: Slots of the cluster.
        progress: Called with one line after each work item.

    Returns:
        Failed work items with their reasons; the remaining work items are still run.
    """
    start: Any = ray.remote(
        num_cpus=slots.measurer_cpus,
        num_gpus=study.resources.measurer.gpus,
        resources=study.resources.measurer.custom,
        max_retries=MOST_RETRIES,
        # The user's own code may change its process, so each process runs one task. Otherwise
        # processes are reused: Ray would end those with a GPU, and a restart takes seconds.
        max_calls=1 if has_own_parts(study, trials) else 0,
    )(task)
    common = str(folder.path), study.model_dump_json(), data, max(1, int(slots.measurer_cpus))
    waiting = deque(work_items)
    running: dict[Any, str] = {}
    failures: list[str] = []
    try:
        while waiting or running:
            while waiting and len(running) < slots.most_measurers:
                name = waiting.popleft()
                running[start.remote(work_items[name], *common)] = name
            # In short steps, so that Ctrl-C gets through.
            for reference in ray.wait(list(running), timeout=1.0)[0]:
                name = running.pop(reference)
                try:
                    ray.get(reference)
                except RayError as error:
                    cause = error.cause if isinstance(error, RayTaskError) else error
                    reason = error_line(cause or error)
                    failures.append(f"{name}: {what}: {reason}")
                done = len(work_items) - len(waiting) - len(running)
                progress(f"{what} {done}/{len(work_items)}")
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
    return failures
