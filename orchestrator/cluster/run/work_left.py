"""The work that a run leaves when its time is over."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkLeft:
    """The work that a run leaves when its time is over.

    Attributes:
        trials: Ids of trials to train; those that began resume from their resume states.
        snapshots: Ids of stored snapshots to measure.
        audits: Number of snapshots to audit for a claim.
        checks: Number of network shapes to check.
    """

    trials: frozenset[str]
    snapshots: frozenset[str]
    audits: int = 0
    checks: int = 0

    def __bool__(self) -> bool:
        return bool(self.trials or self.snapshots or self.audits or self.checks)

    def text(self) -> str:
        """Return the work as one line of text."""
        counts = {
            "to train": _counted(len(self.trials), "trial"),
            "to measure": _counted(len(self.snapshots), "snapshot"),
            "to audit": _counted(self.audits, "snapshot"),
            "to check": _counted(self.checks, "network"),
        }
        return ", ".join(f"{number} {what}" for what, number in counts.items() if number)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}" if number else ""
