"""Hooks for Ray Tune: where trials run, which trial is next, and when to stop.

Tune pickles its settings once, to restore a run, which this package never does. It works with the
original objects, which refer to the state of the run and leave it out when pickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.cluster.trials.failing_nodes import node_of
from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.cluster.trials.trainable import SPOILT


class _NotPickled:
    """A base class whose objects pickle as empty."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class TrialScheduler(_NotPickled, FIFOScheduler):  # type: ignore[misc]
    """A scheduler that runs trials in order, on allowed nodes, and never in a spoilt process.

    A trainable cannot refuse to be reused: Tune counts ``reset_config() -> False`` as a failure of
    the next trial, which has not run yet.

    Args:
        state: Provides the resources that each trial books and the nodes that it must avoid.
    """

    def __init__(self, state: RunState) -> None:
        super().__init__()
        self._state = state

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Set a trial's resources and placement, by which Tune then queues it."""
        trial.update_resources(self._state.placement(trial.config["trial_id"]))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the waiting trial that gets a free process: one without a process if there is any.

        Otherwise, Tune would give a free process to a trial whose own process is still starting,
        and kill that one before it did anything. If all waiting trials have asked for processes,
        the first gets the free one, because the free process may occupy the slot that the other
        waits for.
        """
        queue, served = tune_controller._pending_trials_list, tune_controller._trial_to_actor
        waiting = [trial for trial in queue if trial in tune_controller._pending_trials]
        without = (trial for trial in waiting if trial not in served)
        return next(without, next(iter(waiting), None))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Prevent reuse of a spoilt process; called before Tune decides on reuse."""
        if result.get(SPOILT):
            # Tune reuses only processes that it knows to have started.
            process = tune_controller._trial_to_actor.get(trial)
            tune_controller._started_actors.discard(process)


class RunCallback(_NotPickled, tune.Callback):  # type: ignore[misc]
    """A callback that passes Tune's events to the state of the run.

    Args:
        state: Receives the events.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record a trial's report, and block while the measurers are too far behind."""
        self._state.report(trial.config["trial_id"], result)
        self._state.wait_for_measurers()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the node of a trial's new process."""
        actor = trial.temporary_state.ray_actor
        self._state.nodes.started(trial.config["trial_id"], node_of(actor))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Place a trial before its restart, on another node if its process died."""
        if _process_died(trial):
            trial_id = trial.config["trial_id"]
            self._state.nodes.died(trial_id)
            trial.update_resources(self._state.placement(trial_id))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record that a trial failed for good."""
        trial_id = trial.config["trial_id"]
        if _process_died(trial):
            self._state.nodes.died(trial_id)
            # Tune restarts only a running trial, not one that was waiting for its process.
            if trial.num_failures <= trial.max_failures:
                self._state.untried.add(trial_id)
        self._state.end(trial_id)


class NextTrial(_NotPickled, Searcher):  # type: ignore[misc]
    """A search algorithm that hands Tune a trial whenever a slot is free.

    Args:
        gate: Decides which trial starts next.
        most: Maximum number of trials in parallel.
    """

    def __init__(self, gate: Gate, most: int) -> None:
        super().__init__()
        self._gate, self._most = gate, most
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of the next trial; None if every slot is taken.

        Args:
            trial_id: Tune's own id for the trial.
        """
        if len(self._running) >= self._most:
            return None
        chosen = self._gate.next_trial()
        if chosen is None:
            return Searcher.FINISHED
        self._running.add(trial_id)
        return {"trial_id": chosen}

    def on_trial_complete(self, trial_id: str, *args: Any, **kwargs: Any) -> None:
        """Free the slot of a trial that ended or failed."""
        self._running.discard(trial_id)

    def save_to_dir(self, *args: Any, **kwargs: Any) -> None:
        """Save nothing: the results folder is the only memory."""


class StopWhenUseless(_NotPickled, tune.Stopper):  # type: ignore[misc]
    """A stopper that ends trials early, one by one or all together.

    Args:
        gate: Decides which trials end.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether a single trial ends early, at its resume state."""
        return self._gate.may_end(result)

    def stop_all(self) -> bool:
        """Return whether training must stop; called by Tune between any two events."""
        return self._gate.must_stop()


def _process_died(trial: Any) -> bool:
    """Return whether a trial failed because its process died, not because of an exception."""
    # Read the driver's own copy: the copy in storage, which Tune reads, is written at the very end.
    error = trial.pickled_error_file
    return error is not None and isinstance(
        cloudpickle.loads(Path(error).read_bytes()), RayActorError
    )
