"""The summary of a run, for people and for exit codes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from orchestrator.cluster.run.progress_display import duration
from orchestrator.cluster.run.work_left import WorkLeft

MOST_FAILURES_SHOWN = 10
_CURVES = re.compile(r"/damaged/\w+-curves-compact-")


@dataclass
class RunSummary:
    """The summary of a run.

    Attributes:
        trials: Number of trials in the study.
        completed: Number of trials that are completed now.
        trained: Number of trials that this run trained to their end.
        measured: Number of snapshots that this run measured.
        failed_trials: Trial id → reason of trials that are not completed.
        failed_measures: Failed measurements with their reasons.
        failed_audits: Failed audits with their reasons.
        set_aside: Damaged files that were set aside.
        failing_nodes: Hosts avoided after repeated deaths of trial processes.
        left: Work that is left because the time of the run was over, if any.
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
    left: WorkLeft | None = None
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every trial is completed and every snapshot measured."""
        failed = self.failed_measures or self.failed_audits
        return self.completed == self.trials and not (failed or self.left)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 if complete, 4 if work is left, 1 after failures."""
        if self.left:
            return 4
        return 0 if self.complete else 1

    def text(self) -> str:
        """Return the summary as text for people."""
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
            lines.append("  failures are retried only with --retry-failed")
        if self.left:
            lines.append(f"  the time is over; left: {self.left.text()}")
        lines += [f"  failing host, avoided: {text}" for text in self.failing_nodes]
        lines += [f"  damaged, set aside{_remade(path)}: {path}" for path in self.set_aside]
        return "\n".join(lines)


def _remade(path: str) -> str:
    """Return how the summary describes what a run recomputes of a file that was set aside."""
    own = ", except curves of your own measures that do not set `curves`"
    return " and recomputed" + (own if _CURVES.search(path) else "")


def _one(text: str) -> str:
    return text.strip().partition("\n")[0]
