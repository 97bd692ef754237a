"""What a run did, for people and for exit codes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from orchestrator.cluster.run.progress_display import duration

MOST_FAILURES_SHOWN = 10
_CURVES = re.compile(r"/damaged/\w+-curves-compact-")


@dataclass
class RunSummary:
    """What a run did.

    Attributes:
        trials: Trials of the study.
        completed: How many of them are completed now.
        trained: How many this run trained to their end.
        measured: Snapshots that this run measured.
        failed_trials: Id → reason of trials that are not completed.
        failed_measures: What could not be measured, and why.
        failed_audits: What could not be audited, and why.
        set_aside: Files that were found damaged and are kept aside.
        failing_nodes: Hosts on which processes of trials died again and again, and were avoided.
        seconds: Wall time.
    """

    trials: int
    completed: int = 0
    trained: int = 0
    measured: int = 0
    failed_trials: dict[str, str] = field(default_factory=dict)
    failed_measures: list[str] = field(default_factory=list)
    failed_audits: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    failing_nodes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every trial is completed and every snapshot measured."""
        return self.completed == self.trials and not (self.failed_measures or self.failed_audits)

    def text(self) -> str:
        """The summary for people."""
        lines = [
            f"{self.completed} of {self.trials} trials completed, {self.trained} trained and "
            f"{self.measured} snapshots measured in {duration(self.seconds)}"
        ]
        lines += [f"  failed trial {id_}: {_one(why)}" for id_, why in self.failed_trials.items()]
        lines += [f"  failed measure {_one(text)}" for text in self.failed_measures]
        lines += [f"  failed audit {_one(text)}" for text in self.failed_audits]
        if len(lines) > MOST_FAILURES_SHOWN + 1:
            more = len(lines) - 1 - MOST_FAILURES_SHOWN
            lines[MOST_FAILURES_SHOWN + 1 :] = [f"  and {more} more; see `status`"]
        if self.failed_trials or self.failed_measures:
            lines.append("  what failed is tried again only if asked: --retry-failed")
        lines += [f"  host to look at, and avoided: {text}" for text in self.failing_nodes]
        lines += [f"  damaged, kept aside{_remade(path)}: {path}" for path in self.set_aside]
        return "\n".join(lines)


def _remade(path: str) -> str:
    """What a run recomputes of a file that was set aside."""
    own = ", but for curves of measures of your own that do not set `curves`"
    return " and made again" + (own if _CURVES.search(path) else "")


def _one(text: str) -> str:
    return text.strip().partition("\n")[0]
