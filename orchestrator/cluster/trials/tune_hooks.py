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
from ray.tune.search import BasicVariantGenerator

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


class CanaryFirst(_NotPickled, BasicVariantGenerator):  # type: ignore[misc]
    """A search algorithm that hands Tune the canaries first, and other trials once these work.

    Args:
        gate: Decides whether the other trials may start.
        ahead: Number of canaries.
        most: Maximum number of trials in parallel.
    """

    def __init__(self, gate: Gate, ahead: int, most: int) -> None:
        super().__init__(max_concurrent=most)
        self.ahead, self.handed_out = ahead, 0
        self._gate = gate

    def next_trial(self) -> Any:
        """Return the next trial, or None if none is left or none may start now."""
        if self.handed_out >= self.ahead:
            if self._gate.must_stop():
                self.set_finished()
            if not self._gate.others_may_start():
                return None
        trial = super().next_trial()
        self.handed_out += trial is not None
        return trial

    def get_state(self) -> dict[str, Any]:
        """Return the state for Tune to pickle: nothing."""
        return {}


class StopWhenUseless(_NotPickled, tune.Stopper):  # type: ignore[misc]
    """A stopper that ends all trials once training must stop.

    Args:
        gate: Decides whether training must stop.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: a single trial is never ended."""
        return False

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
