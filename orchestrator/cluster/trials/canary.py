"""Canaries: one trial per shape runs first, so that a configuration that cannot work costs little.

A canary is an ordinary trial. Its shape is known to work when all requests have been measured on
its first snapshot, or, if its first epoch leaves nothing to measure, when that epoch ends. Until
then, other trials of its shape start only where a slot would otherwise be idle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.cluster.backlog import Backlog
from orchestrator.cluster.snapshots.dispatcher import Dispatcher
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.errors import StudyIncomplete
from orchestrator.study.shapes import measuring_shape, training_shape
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial


def choose_canaries(
    study: Study, trials: Mapping[str, Trial], missing: Mapping[str, Trial], backlog: Backlog
) -> dict[str, str]:
    """Choose the first missing trial of each shape that is not known to work.

    Args:
        study: The study.
        trials: All its trials, by id.
        missing: Trials to train, by id.
        backlog: Stored state of the study.

    Returns:
        Trial id → id of the canary of its shape, for the missing trials of these shapes.
    """
    works = set(backlog.completed) if not study.requests else set()
    for checkpoint_id in backlog.measured_snapshots(study):
        if not backlog.failed_measures.get(checkpoint_id):
            works.add(backlog.checkpoints[checkpoint_id])
    known = {_shape(trials[trial_id]) for trial_id in works if trial_id in trials}
    canaries: dict[tuple[str, str], str] = {}
    return {
        trial_id: canaries.setdefault(shape, trial_id)
        for trial_id, trial in missing.items()
        if (shape := _shape(trial)) not in known
    }


def _shape(trial: Trial) -> tuple[str, str]:
    return training_shape(trial.config), measuring_shape(trial.config)


@dataclass
class Canary:
    """The canary trials of a run and their outcome.

    Args:
        of: Trial id → id of the canary of its shape; a canary has itself.
        to_measure: As below.

    Attributes:
        of: Trial id → id of the canary of its shape.
        awaited: Ids of canaries that are not known to work yet.
        to_measure: Returns whether a trial, given its id, has snapshots left to measure.
        failed: Id of a canary that failed, if any.
        reason: Reason of the failure, if a measure failed.
    """

    of: Mapping[str, str]
    to_measure: Callable[[str], bool]
    awaited: set[str] = field(init=False)
    failed: str | None = field(default=None, init=False)
    reason: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.awaited = set(self.of.values())

    def clears(self, trial_id: str) -> bool:
        """Return whether a trial is a canary itself, or its shape is known to work."""
        canary = self.of.get(trial_id)
        return canary == trial_id or canary not in self.awaited

    def update(self, state: RunState, dispatcher: Dispatcher) -> None:
        """Update the outcome of the canaries; the first failure is final."""
        if self.failed is not None:
            return
        for trial_id in sorted(self.awaited):
            for failure in list(dispatcher.failures):
                if failure.trial_id == trial_id and not failure.untrusted:
                    self.failed, self.reason = trial_id, str(failure)
                    return
            ended = trial_id in state.ended
            if trial_id in state.failed or (ended and trial_id not in state.trained):
                self.failed = trial_id
                return
            if self._works(state, dispatcher, trial_id):
                self.awaited.discard(trial_id)

    def _works(self, state: RunState, dispatcher: Dispatcher, trial_id: str) -> bool:
        if dispatcher.has_measured(trial_id):
            return True
        if trial_id in state.trained:  # With nothing to measure, or nothing measured yet.
            return not self.to_measure(trial_id)
        if state.running.get(trial_id, {}).get("epoch", 0) < 1:
            return False
        return not self.to_measure(trial_id)

    def error(self, failures: Mapping[str, str], not_started: int) -> StudyIncomplete:
        """Return the error that names the failed canary and the reason.

        Args:
            failures: Reasons of failed trials, by trial id.
            not_started: Number of trials that did not start.
        """
        reason = self.reason or f"{self.failed}: {failures.get(str(self.failed), 'it failed')}"
        return StudyIncomplete(
            f"a canary trial failed, so {not_started} trials were not started: {reason}",
            "fix the cause and run again with --retry-failed, or continue with --no-canary; "
            "finished work is kept",
        )
