"""The progress of a run: updated by Tune's hooks and shown by the display."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from ray import tune

from orchestrator.cluster.snapshots.dispatcher import Dispatcher
from orchestrator.cluster.trials.failing_nodes import FailingNodes
from orchestrator.errors import StorageError
from orchestrator.study.trials import Trial

BACK_PRESSURE_CHECK_SECONDS = 0.2


@dataclass
class RunState:
    """The progress of the trials in a run.

    Attributes:
        trials: Trials to train in this run, by id.
        total: Number of trials in the whole study.
        completed: Number of completed trials in the study, including earlier runs.
        dispatcher: Dispatcher of the measurers, once it exists.
        limit: Number of unmeasured snapshots above which training waits.
        slots: Number of trials that train in parallel.
        seconds: Training seconds of completed trials, by trial id.
        trained: Ids of trials that were trained to their end.
        failed: Reasons of failed trials, by trial id.
        running: Last reports of running trials, by trial id.
        ended: Ids of trials that no longer occupy a slot.
        storage: Error of a trial that could not store its results, if any.
        nodes: Nodes where trial processes died.
        bundles: Resources that each trial's process books, by trial id.
        untried: Ids of trials that Tune gave up because a process died before they started in it.
        until: Time on the monotonic clock at which the run ends early.
        started_at: Start of the run on the monotonic clock, in seconds.
    """

    trials: dict[str, Trial]
    total: int
    completed: int
    limit: int
    slots: int = 1
    dispatcher: Dispatcher | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    storage: StorageError | None = None
    nodes: FailingNodes = field(default_factory=FailingNodes)
    bundles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    untried: set[str] = field(default_factory=set)
    until: float = inf
    started_at: float = field(default_factory=time.monotonic)

    def report(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record a trial's report."""
        if not result.get("done"):
            self.running[trial_id] = result
            return
        new = trial_id not in self.ended
        self.end(trial_id)
        if result.get("status") == "failed":
            self.failed[trial_id] = result["error"]
        elif result.get("status") == "not stored":
            self.storage = StorageError(*result["error"])
        elif new and result.get("status") == "completed":
            self.completed += 1
            self.trained.add(trial_id)
            self.seconds[trial_id] = result["train_seconds"]

    def end(self, trial_id: str) -> None:
        """Record that a trial's slot is free."""
        self.running.pop(trial_id, None)
        self.ended.add(trial_id)
        if self.dispatcher is not None:
            left = len(self.trials) - len(self.ended)
            self.dispatcher.allow(self.dispatcher.reserved + max(0, self.slots - left))
            self.dispatcher.wake()

    def placement(self, trial_id: str) -> tune.PlacementGroupFactory:
        """Return the resources that a trial books and the nodes on which it may run."""
        return self.nodes.placement(trial_id, self.bundles[trial_id])

    def places(self) -> list[tuple[dict[str, float], frozenset[str]]]:
        """Return the distinct resources and avoided nodes of trials that have not ended."""
        found = {
            (tuple(self.bundles[trial_id].items()), self.nodes.away(trial_id))
            for trial_id in self.bundles.keys() - self.ended
        }
        return [(dict(bundle), away) for bundle, away in found]

    def wait_for_measurers(self) -> None:
        """Block the trials while too many snapshots wait to be measured (back-pressure)."""
        dispatcher = self.dispatcher
        while dispatcher is not None and dispatcher.working and dispatcher.waiting > self.limit:
            if self.time_is_over:
                break
            time.sleep(BACK_PRESSURE_CHECK_SECONDS)

    @property
    def time_is_over(self) -> bool:
        """Whether the run ends early now."""
        return time.monotonic() >= self.until

    def seconds_left(self) -> float | None:
        """Estimate the seconds until the last trial ends; None if no trial times are known.

        A trial is expected to take as long as the average completed trial of its condition. If
        none exists, trials with its batch size are averaged, and otherwise all completed trials.
        """
        left = [trial for id_, trial in list(self.trials.items()) if id_ not in self.ended]
        if not left:
            return 0.0
        known: dict[object, list[float]] = defaultdict(list)
        for id_, seconds in list(self.seconds.items()):
            for kind in _kinds(self.trials[id_]) if id_ in self.trials else ():
                known[kind].append(seconds)
        expected = {kind: sum(times) / len(times) for kind, times in known.items()}
        if not expected:
            return None
        work = 0.0
        for trial in left:
            estimate = next(expected[kind] for kind in _kinds(trial) if kind in expected)
            so_far = self.running.get(trial.trial_id, {}).get("train_seconds", 0.0)
            work += max(0.0, estimate - so_far)
        return work / max(1, min(self.slots, len(left)))


def _kinds(trial: Trial) -> tuple[object, ...]:
    """Return the groups of trials that take as long as this one, closest first; None means all."""
    return trial.condition_id, trial.config.training.batch_size, None
