"""The progress of a run: what the display shows and Tune's hooks fill in."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import tune

from orchestrator.cluster.snapshots.dispatcher import Dispatcher
from orchestrator.cluster.trials.failing_nodes import FailingNodes
from orchestrator.errors import StorageError
from orchestrator.study.trials import Trial

BACK_PRESSURE_CHECK_SECONDS = 0.2


@dataclass
class RunState:
    """What is known of the running trials.

    Attributes:
        trials: The trials to train in this run, by id.
        total: Trials of the whole study.
        completed: Trials of the study that are completed, those of earlier runs included.
        dispatcher: The measurers' dispatcher, once there is one.
        limit: Training waits while more snapshots than this wait to be measured.
        slots: Trials that train at the same time.
        seconds: Training seconds of completed trials, by id.
        trained: Trials that were trained to their end.
        failed: Trials that failed, and why.
        running: What the running trials reported last.
        ended: Trials that hold no slot any more.
        storage: Why a trial could not store what it had, if so.
        nodes: Where processes of trials died.
        bundles: What the process of each trial books, by the trial's id.
        untried: Trials that Tune gave up because a process died before they began in it.
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
    started_at: float = field(default_factory=time.monotonic)

    def report(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take in what a trial reported."""
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
        """Note that a trial's slot is free."""
        self.running.pop(trial_id, None)
        self.ended.add(trial_id)
        if self.dispatcher is not None:
            left = len(self.trials) - len(self.ended)
            self.dispatcher.allow(self.dispatcher.reserved + max(0, self.slots - left))
            self.dispatcher.wake()

    def placement(self, trial_id: str) -> tune.PlacementGroupFactory:
        """What a trial books, and on which nodes it may run."""
        return self.nodes.placement(trial_id, self.bundles[trial_id])

    def places(self) -> list[tuple[dict[str, float], frozenset[str]]]:
        """What trials book that have not ended, and the nodes they keep away from; each once."""
        found = {
            (tuple(self.bundles[trial_id].items()), self.nodes.away(trial_id))
            for trial_id in self.bundles.keys() - self.ended
        }
        return [(dict(bundle), away) for bundle, away in found]

    def wait_for_measurers(self) -> None:
        """Back-pressure: hold the trials while too many snapshots wait to be measured."""
        dispatcher = self.dispatcher
        while dispatcher is not None and dispatcher.working and dispatcher.waiting > self.limit:
            time.sleep(BACK_PRESSURE_CHECK_SECONDS)

    def seconds_left(self) -> float | None:
        """Time until the last trial ends, from measured trial times; None if none is known.

        A trial that has not started is expected to take as long as the completed ones of its
        condition, else of its batch size, else as all.
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
    """Which trials take as long as this one: the closest kind first, the last one is all."""
    return trial.condition_id, trial.config.training.batch_size, None
