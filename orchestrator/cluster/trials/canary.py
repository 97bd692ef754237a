"""The canary: one trial of each shape goes ahead, so that what can't work costs little.

It is an ordinary trial that others wait for: until its first snapshot is measured for all that
the study asks, or, where its first epoch leaves nothing to measure, until that epoch has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.cluster.backlog_reading import Backlog
from orchestrator.cluster.snapshots.dispatcher import Dispatcher
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.errors import StudyIncomplete
from orchestrator.measures.trust.finding import UNTRUSTED
from orchestrator.study.shapes import measuring_shape, training_shape
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial


def choose_canaries(
    study: Study, trials: Mapping[str, Trial], missing: Mapping[str, Trial], backlog: Backlog
) -> list[str]:
    """The first of the missing trials of each shape that has not been seen to work.

    Args:
        study: The study.
        trials: All its trials, by id.
        missing: Those that are to be trained.
        backlog: What is stored.
    """
    works = set(backlog.completed) if not study.requests else set()
    for checkpoint_id in backlog.measured_snapshots(study):
        if not backlog.failed_measures.get(checkpoint_id):
            works.add(backlog.checkpoints[checkpoint_id])
    seen = {_shape(trials[trial_id]) for trial_id in works if trial_id in trials}
    chosen = []
    for trial_id, trial in missing.items():
        if _shape(trial) not in seen:
            seen.add(_shape(trial))
            chosen.append(trial_id)
    return chosen


def _shape(trial: Trial) -> tuple[str, str]:
    return training_shape(trial.config), measuring_shape(trial.config)


@dataclass
class Canary:
    """The trials that go ahead, and what became of them.

    Attributes:
        awaited: Ids of those of which it is not known yet whether they work.
        others: How many trials wait for them.
        to_measure: Whether something is to be measured of a trial's snapshots.
        failed: Id of one that does not work.
        reason: Why, if a measure failed.
    """

    awaited: set[str]
    others: int
    to_measure: Callable[[str], bool]
    failed: str | None = None
    reason: str | None = None

    def update(self, state: RunState, dispatcher: Dispatcher) -> None:
        """Take in what has become of them."""
        for trial_id in sorted(self.awaited):
            for failure in list(dispatcher.failures):
                # A failed check of measures is reported in rows and does not stop training.
                if failure.trial_id == trial_id and f": {UNTRUSTED}" not in failure.reason:
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
        if trial_id in state.trained:  # With nothing to be measured, or not yet.
            return not self.to_measure(trial_id)
        if state.running.get(trial_id, {}).get("epoch", 0) < 1:
            return False
        return not self.to_measure(trial_id)

    def error(self, failures: Mapping[str, str]) -> StudyIncomplete:
        """What to tell: which trial went ahead and failed, and why.

        Args:
            failures: Why trials failed, by id.
        """
        reason = self.reason or f"{self.failed}: {failures.get(str(self.failed), 'it failed')}"
        return StudyIncomplete(
            f"a trial that went ahead of the others failed, so {self.others} trials were not "
            f"started: {reason}",
            "mend that and run again, with --retry-failed; or go on as it is with --no-canary; "
            "nothing that was finished is lost",
        )
