"""How far a run is: what the progress display shows and Tune's callback fills in."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.search import BasicVariantGenerator

from orchestrator.cluster.canary import Canary
from orchestrator.cluster.dispatcher import Dispatcher
from orchestrator.cluster.failing_nodes import FailingNodes, node_of
from orchestrator.errors import StorageError
from orchestrator.study.trials import Trial

BACK_PRESSURE_LOOK_SECONDS = 0.2
STRANDED_LOOK_SECONDS = 5.0


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
        canary: The trials that go ahead of the others, if any do.
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
    canary: Canary | None = None
    nodes: FailingNodes = field(default_factory=FailingNodes)
    bundles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    untried: set[str] = field(default_factory=set)
    started_at: float = field(default_factory=time.monotonic)
    _looked_at: float = field(default_factory=time.monotonic)
    _found_stranded: bool = False

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

    @property
    def must_stop(self) -> bool:
        """Whether it is of no use to train on: nothing is stored, measured or placed, or works."""
        if self.storage is not None or (self.dispatcher and self.dispatcher.error is not None):
            return True
        if self._stranded():  # The next round places it anew.
            return True
        if self.canary and self.dispatcher and self.canary.failed is None:
            self.canary.look(self, self.dispatcher)
        return self.canary is not None and self.canary.failed is not None

    def _stranded(self) -> bool:
        """Whether a trial waits for a node that is gone; looked for every few seconds."""
        if time.monotonic() - self._looked_at > STRANDED_LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._found_stranded = self.nodes.stranded(self.bundles.keys() - self.ended)
        return self._found_stranded

    @property
    def others_may_start(self) -> bool:
        """Whether the trials that go ahead are known to work."""
        return self.canary is None or (not self.must_stop and not self.canary.awaited)

    def raise_what_stopped(self) -> None:
        """Raise what made the trials stop before their end, if anything did.

        Raises:
            StorageError: If a trial could not store what it had.
            StudyIncomplete: If a trial that went ahead of the others failed.
        """
        if self.storage is not None:
            raise self.storage
        if self.canary is not None and self.canary.failed is not None:
            raise self.canary.error(self.failed)

    def end(self, trial_id: str) -> None:
        """Note that a trial's slot is free."""
        self.running.pop(trial_id, None)
        self.ended.add(trial_id)
        if self.dispatcher is not None:
            left = len(self.trials) - len(self.ended)
            self.dispatcher.allow(self.dispatcher.reserved + max(0, self.slots - left))
            self.dispatcher.wake()

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
            time.sleep(BACK_PRESSURE_LOOK_SECONDS)

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


_current: RunState | None = None


def watch(state: RunState | None) -> None:
    """Make ``state`` the one that the callback of this process fills in."""
    global _current  # noqa: PLW0603 - Tune pickles its callbacks, so they can't hold it.
    _current = state


def placement(trial_id: str, bundle: Mapping[str, float]) -> tune.PlacementGroupFactory:
    """Where a trial may run, as far as the current :class:`RunState` knows."""
    nodes = FailingNodes() if _current is None else _current.nodes
    return nodes.placement(trial_id, bundle)


def placement_of(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Where a trial may run and what it books there, as Tune asks by its configuration.

    Tune unpickles what asks this for every single trial: so it holds nothing of the study.
    """
    assert _current is not None  # noqa: S101 - the driver trains under a state
    trial_id = config["trial_id"]
    return placement(trial_id, _current.bundles[trial_id])


def _process_died(trial: Any) -> bool:
    """Whether a trial failed because its process died, and not by an exception in it."""
    # The driver's own copy: it reaches the storage, where Tune itself looks, when all has ended.
    error = trial.pickled_error_file
    return error is not None and isinstance(
        cloudpickle.loads(Path(error).read_bytes()), RayActorError
    )


class RunCallback(tune.Callback):  # type: ignore[misc]
    """Passes Tune's news on to the current :class:`RunState`."""

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reported; hold everything if the measurers are too far behind."""
        if _current is not None:
            _current.report(trial.config["trial_id"], result)
            _current.wait_for_measurers()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process is there."""
        if _current is not None:
            actor = trial.temporary_state.ray_actor
            _current.nodes.started(trial.config["trial_id"], node_of(actor))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial is going to be started again: elsewhere, if its process died."""
        if _current is not None and _process_died(trial):
            trial_id = trial.config["trial_id"]
            _current.nodes.died(trial_id)
            (bundle,) = trial.placement_group_factory.bundles
            trial.update_resources(placement(trial_id, bundle))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good."""
        if _current is not None:
            trial_id = trial.config["trial_id"]
            if _process_died(trial):
                _current.nodes.died(trial_id)
                # Tune restarts only what runs, not what was waiting in a process that it shared.
                if trial.num_failures <= trial.max_failures:
                    _current.untried.add(trial_id)
            _current.end(trial_id)


class CanaryFirst(BasicVariantGenerator):  # type: ignore[misc]
    """Hands Tune the trials in their order, and those behind the first few once these work.

    Args:
        ahead: How many go ahead.
        most: How many may train at the same time.
    """

    def __init__(self, ahead: int, most: int) -> None:
        super().__init__(max_concurrent=most)
        self.ahead, self.handed_out = ahead, 0

    def next_trial(self) -> Any:
        """The next trial; None if there is none, or none may start now."""
        if self.handed_out >= self.ahead and _current is not None:
            if _current.must_stop:
                self.set_finished()
            if not _current.others_may_start:
                return None
        trial = super().next_trial()
        self.handed_out += trial is not None
        return trial


class StopWhenUseless(tune.Stopper):  # type: ignore[misc]
    """Ends every trial once the current :class:`RunState` says that going on is of no use."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is ended here."""
        return False

    def stop_all(self) -> bool:
        """Asked by Tune between any two events."""
        return _current is not None and _current.must_stop
