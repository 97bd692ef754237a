"""Has Tune start a fresh process where a trial left one that cannot be reset."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler

from orchestrator.cluster.trainable import SPOILT


class FreshProcesses(FIFOScheduler):  # type: ignore[misc]
    """Runs trials in their order; a process that a trial spoilt is not used for another one.

    A trainable cannot refuse to be reused: Tune counts ``reset_config() -> False`` as the failure
    of the trial that was to come, which has done nothing.
    """

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Called before Tune decides whether to keep the process of a trial that has ended."""
        if result.get(SPOILT):
            # Tune keeps only those that it knows to have started.
            process = tune_controller._trial_to_actor.get(trial)
            tune_controller._started_actors.discard(process)
