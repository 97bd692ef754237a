"""Decisions on whether training must stop and whether the trials behind the canaries may start."""

from __future__ import annotations

import time

from orchestrator.cluster.trials.canary import Canary
from orchestrator.cluster.trials.run_state import RunState

STRANDED_CHECK_SECONDS = 5.0


class Gate:
    """The decision for Tune, between any two of its events, whether trials may continue or start.

    Args:
        state: Progress of the run.
        canary: Trials that run first, if any.
    """

    def __init__(self, state: RunState, canary: Canary | None = None) -> None:
        self.canary = canary
        self._state = state
        self._checked_at = time.monotonic()
        self._stranded = False

    def must_stop(self) -> bool:
        """Return whether training must stop: storage, the dispatcher or a canary failed.

        It must also stop if a trial waits for a lost node; the next round places the trial again.
        """
        dispatcher = self._state.dispatcher
        if self._state.storage is not None or (dispatcher and dispatcher.error is not None):
            return True
        if self._a_trial_is_stranded():
            return True
        if self.canary is None:
            return False
        if dispatcher is not None:
            self.canary.update(self._state, dispatcher)
        return self.canary.failed is not None

    def others_may_start(self) -> bool:
        """Return whether every canary is known to work."""
        return self.canary is None or (not self.must_stop() and not self.canary.awaited)

    def raise_cause(self) -> None:
        """Raise the error that stopped the trials early, if any.

        Raises:
            StorageError: If a trial could not store its results.
            StudyIncomplete: If a canary failed.
        """
        if self._state.storage is not None:
            raise self._state.storage
        if self.canary is not None and self.canary.failed is not None:
            raise self.canary.error(self._state.failed)

    def _a_trial_is_stranded(self) -> bool:
        """Return whether a trial waits for a lost node; checked every few seconds."""
        if time.monotonic() - self._checked_at > STRANDED_CHECK_SECONDS:
            self._checked_at = time.monotonic()
            waiting = self._state.bundles.keys() - self._state.ended
            self._stranded = self._state.nodes.stranded(waiting)
        return self._stranded
