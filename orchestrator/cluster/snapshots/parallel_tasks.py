"""Work on snapshots that is neither training nor measuring, side by side under Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.cluster.ray.own_code import has_own_parts
from orchestrator.cluster.ray.session import Slots
from orchestrator.cluster.ray.shared_data import SharedData
from orchestrator.errors import error_line
from orchestrator.results import ResultsFolder
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial

Item = TypeVar("Item")
Progress = Callable[[str], None]
Task = Callable[[Item, str, str, SharedData, int], None]
"""Called with a work item, the results folder, the study as JSON, the data and a thread count."""

MOST_RETRIES = 2  # Of a process that was killed or ran out of memory.


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
    """Run a task for each work item, as many at a time as there may be measurers.

    Args:
        what: What is done, for people.
        task: Stores what it finds.
        work_items: By the names that people know them by.
        folder: The results.
        study: The study.
        trials: Its trials.
        data: Its data sets.
        slots: What the cluster gives.
        progress: Told one line after each work item.

    Returns:
        What failed, and why; the other work items are carried out nevertheless.
    """
    start: Any = ray.remote(
        num_cpus=slots.measurer_cpus,
        num_gpus=study.resources.measurer.gpus,
        resources=study.resources.measurer.custom,
        max_retries=MOST_RETRIES,
        # Code of the user's own may change its process. Otherwise no process is ended, which Ray
        # would do with each that has a GPU; starting another takes seconds.
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
