"""Decisions on which trial starts next, which trials end early, and whether training must stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from typing import Any

from orchestrator.cluster.trials.canary import Canary
from orchestrator.cluster.trials.run_state import RunState

STRANDED_CHECK_SECONDS = 5.0
CLOSING_SECONDS = 30.0
"""Seconds that running trials get to reach their next resume state before they are stopped."""


class Gate:
    """The decisions for Tune, between any two of its events, on how training continues.

    Args:
        state: Progress of the run, with its trials in the order in which they start.
        canary: Trials that run first, if any.
        until: Time on the monotonic clock after which nothing starts and running trials end.
    """

    def __init__(
        self, state: RunState, canary: Canary | None = None, *, until: float = inf
    ) -> None:
        self.canary = canary
        self._state = state
        self._until = until
        ahead = () if canary is None else (id_ for id_ in state.trials if canary.of.get(id_) == id_)
        self._waiting = dict.fromkeys([*ahead, *state.trials])
        self._checked_at = time.monotonic()
        self._stranded = False
        self._closing_since: float | None = None

    def next_trial(self) -> str | None:
        """Return the id of the trial that starts next; None if none is left or may start.

        Canaries are first, then trials whose shape is known to work. Only if no others are left
        does a trial start beside the canary of its shape.
        """
        if self.closing() or not self._waiting:
            return None
        sure = (id_ for id_ in self._waiting if self.canary is None or self.canary.clears(id_))
        chosen: str = next(sure, next(iter(self._waiting)))
        del self._waiting[chosen]
        return chosen

    def closing(self) -> bool:
        """Return whether nothing more starts, because a canary failed or the time is over."""
        if self._closing_since is None and (self._time_is_over() or self._canary_failed()):
            self._closing_since = time.monotonic()
        return self._closing_since is not None

    def may_end(self, report: Mapping[str, Any]) -> bool:
        """Return whether a trial with this report ends early, at its resume state."""
        return bool(report.get("resumable")) and self.closing()

    def must_stop(self) -> bool:
        """Return whether all trials must stop now: storage or the dispatcher failed.

        They must also stop if one waits for a lost node, because the next round places it again,
        or if trials have not reached a resume state ``CLOSING_SECONDS`` after the last start.
        """
        dispatcher = self._state.dispatcher
        if self._state.storage is not None or (dispatcher and dispatcher.error is not None):
            return True
        if self._a_trial_is_stranded():
            return True
        if not self.closing() or self._closing_since is None:
            return False
        return time.monotonic() - self._closing_since > CLOSING_SECONDS

    def raise_cause(self) -> None:
        """Raise the error that stopped the trials early, if any.

        Raises:
            StorageError: If a trial could not store its results.
            StudyIncomplete: If a canary failed.
        """
        if self._state.storage is not None:
            raise self._state.storage
        if self.canary is not None and self.canary.failed is not None:
            raise self.canary.error(self._state.failed, not_started=len(self._waiting))

    def _time_is_over(self) -> bool:
        return time.monotonic() >= self._until

    def _canary_failed(self) -> bool:
        if self.canary is None or self._state.dispatcher is None:
            return False
        self.canary.update(self._state, self._state.dispatcher)
        return self.canary.failed is not None

    def _a_trial_is_stranded(self) -> bool:
        """Return whether a trial waits for a lost node; checked every few seconds."""
        if time.monotonic() - self._checked_at > STRANDED_CHECK_SECONDS:
            self._checked_at = time.monotonic()
            waiting = self._state.bundles.keys() - self._state.ended
            self._stranded = self._state.nodes.stranded(waiting)
        return self._stranded
