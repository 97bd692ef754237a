"""What is missing: what the study expects, less what is stored.

The store is the queue. Nothing else remembers what has been done, so whatever is killed, the
next look finds exactly what is left.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from orchestrator.measures import build_measure
from orchestrator.results import ResultsFolder, connect
from orchestrator.study.spec import Study


@dataclass
class Backlog:
    """What is stored of a study's trials and measures.

    Attributes:
        completed: Ids of the trials that ended by themselves.
        attempts: How often each trial was started so far.
        failures: Ids and reasons of the trials whose last attempt failed.
        measured: Requests each snapshot has rows for, by checkpoint id.
        seconds: Seconds of training of each completed trial.
    """

    completed: set[str] = field(default_factory=set)
    attempts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    measured: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=dict)


def read_backlog(folder: ResultsFolder, study: Study) -> Backlog:
    """Read what is stored. Error rows count as missing, so that ``run`` tries them again."""
    backlog = Backlog()
    versions = {
        request: build_measure(options).version for request, options in study.requests.items()
    }
    with connect(folder.path) as database:
        for trial_id, status, attempt, error, seconds in database.execute(
            "SELECT trial_id, status, attempt, error, train_seconds FROM trials"
        ).fetchall():
            backlog.attempts[trial_id] = attempt or 0
            if status == "completed":
                backlog.completed.add(trial_id)
                backlog.seconds[trial_id] = seconds
            elif status == "failed":
                backlog.failures[trial_id] = error
        for checkpoint_id, request, version in database.execute(
            "SELECT checkpoint_id, request, max(measure_version) FROM measures "
            "GROUP BY ALL HAVING bool_and(status IN ('ok', 'nonfinite'))"
        ).fetchall():
            if versions.get(request) == version:
                backlog.measured[checkpoint_id].add(request)
    return backlog


def read_audited(folder: ResultsFolder) -> dict[str, set[str]]:
    """Requests that each snapshot was audited for since it was last measured, by checkpoint."""
    audited: dict[str, set[str]] = defaultdict(set)
    with connect(folder.path, measure_columns=False) as database:
        for checkpoint_id, request in database.execute(
            "SELECT checkpoint_id, request FROM (\n"
            "    SELECT checkpoint_id, request, min(written_at) AS audited_at\n"
            "    FROM audit GROUP BY ALL\n"
            ") LEFT JOIN (\n"
            "    SELECT checkpoint_id, request, max(written_at) AS measured_at\n"
            "    FROM measures GROUP BY ALL\n"
            ") USING (checkpoint_id, request)\n"
            "WHERE measured_at IS NULL OR measured_at <= audited_at"
        ).fetchall():
            audited[checkpoint_id].add(request)
    return audited
