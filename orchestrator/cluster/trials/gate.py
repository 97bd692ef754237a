"""Whether training must stop, whether the trials behind the canary may start, and why."""

from __future__ import annotations

import time

from orchestrator.cluster.trials.canary import Canary
from orchestrator.cluster.trials.run_state import RunState

STRANDED_CHECK_SECONDS = 5.0


class Gate:
    """Decides for Tune, between any two of its events, whether trials may continue or start.

    Args:
        state: The progress of the run.
        canary: The trials that run first, if any do.
    """

    def __init__(self, state: RunState, canary: Canary | None = None) -> None:
        self.canary = canary
        self._state = state
        self._checked_at = time.monotonic()
        self._stranded = False

    def must_stop(self) -> bool:
        """Whether training on is useless: storage, the dispatcher or a canary failed.

        Also if a trial waits for a node that is gone: the next round places it again.
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
        """Whether every canary is known to work."""
        return self.canary is None or (not self.must_stop() and not self.canary.awaited)

    def raise_cause(self) -> None:
        """Raise what made the trials stop before their end, if anything did.

        Raises:
            StorageError: If a trial could not store its results.
            StudyIncomplete: If a canary failed.
        """
        if self._state.storage is not None:
            raise self._state.storage
        if self.canary is not None and self.canary.failed is not None:
            raise self.canary.error(self._state.failed)

    def _a_trial_is_stranded(self) -> bool:
        """Whether a trial waits for a node that is gone; checked every few seconds."""
        if time.monotonic() - self._checked_at > STRANDED_CHECK_SECONDS:
            self._checked_at = time.monotonic()
            waiting = self._state.bundles.keys() - self._state.ended
            self._stranded = self._state.nodes.stranded(waiting)
        return self._stranded
