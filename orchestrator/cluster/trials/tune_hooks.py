"""What Ray Tune calls while it trains: where trials run, which one is next, when to stop.

Tune pickles its settings once, to restore a run, which this package never does, and works with
the objects that it was given. They refer to the state of the run and leave it out when pickled.
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
    """Pickles as an empty object."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class TrialScheduler(_NotPickled, FIFOScheduler):  # type: ignore[misc]
    """Runs trials in their order, each where it may run, never in a process that one spoilt.

    A trainable cannot refuse to be reused: Tune counts ``reset_config() -> False`` as the failure
    of the next trial, which has done nothing.

    Args:
        state: Knows what each trial books and which nodes it must avoid.
    """

    def __init__(self, state: RunState) -> None:
        super().__init__()
        self._state = state

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Say what a trial books and where, before Tune queues it by that."""
        trial.update_resources(self._state.placement(trial.config["trial_id"]))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Called before Tune decides whether to reuse the process of a trial that has ended."""
        if result.get(SPOILT):
            # Tune reuses only those that it knows to have started.
            process = tune_controller._trial_to_actor.get(trial)
            tune_controller._started_actors.discard(process)


class RunCallback(_NotPickled, tune.Callback):  # type: ignore[misc]
    """Passes Tune's events on to the state of the run.

    Args:
        state: Takes them in.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reported; block while the measurers are too far behind."""
        self._state.report(trial.config["trial_id"], result)
        self._state.wait_for_measurers()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process has started."""
        actor = trial.temporary_state.ray_actor
        self._state.nodes.started(trial.config["trial_id"], node_of(actor))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial is about to be restarted: on another node, if its process died."""
        if _process_died(trial):
            trial_id = trial.config["trial_id"]
            self._state.nodes.died(trial_id)
            trial.update_resources(self._state.placement(trial_id))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good."""
        trial_id = trial.config["trial_id"]
        if _process_died(trial):
            self._state.nodes.died(trial_id)
            # Tune restarts only what runs, not what was waiting in a process that it shared.
            if trial.num_failures <= trial.max_failures:
                self._state.untried.add(trial_id)
        self._state.end(trial_id)


class CanaryFirst(_NotPickled, BasicVariantGenerator):  # type: ignore[misc]
    """Hands Tune the trials in their order: the canaries first, the others once these work.

    Args:
        gate: Decides whether the others may start.
        ahead: The number of canaries.
        most: How many trials may train in parallel.
    """

    def __init__(self, gate: Gate, ahead: int, most: int) -> None:
        super().__init__(max_concurrent=most)
        self.ahead, self.handed_out = ahead, 0
        self._gate = gate

    def next_trial(self) -> Any:
        """The next trial; None if none is left, or none may start now."""
        if self.handed_out >= self.ahead:
            if self._gate.must_stop():
                self.set_finished()
            if not self._gate.others_may_start():
                return None
        trial = super().next_trial()
        self.handed_out += trial is not None
        return trial

    def get_state(self) -> dict[str, Any]:
        """What Tune pickles by the way: nothing."""
        return {}


class StopWhenUseless(_NotPickled, tune.Stopper):  # type: ignore[misc]
    """Ends every trial once training on is useless.

    Args:
        gate: Decides that.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never ends a single trial."""
        return False

    def stop_all(self) -> bool:
        """Called by Tune between any two events."""
        return self._gate.must_stop()


def _process_died(trial: Any) -> bool:
    """Whether a trial failed because its process died, and not by an exception in it."""
    # The driver's own copy: it reaches the storage, where Tune itself reads it, at the very end.
    error = trial.pickled_error_file
    return error is not None and isinstance(
        cloudpickle.loads(Path(error).read_bytes()), RayActorError
    )
