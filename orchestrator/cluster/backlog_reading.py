"""What is missing: what the study expects, less what is stored.

The store is the queue. Nothing else remembers what has been done, so whatever is killed, the
next look finds exactly what is left.
"""

# ruff: noqa: S608 - names and conditions of this package.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.measures import build_measure
from orchestrator.results import IS_FINAL, MEASURED, ResultsFolder, again_if_compacted, connect
from orchestrator.study.spec import Study


@dataclass(frozen=True)
class Backlog:
    """What is stored of a study's trials and measures.

    Attributes:
        completed: Ids of the trials that ended by themselves and of which no row is missing.
        ended: Ids of the trials that ended by themselves, rows missing or not.
        attempts: How often each trial was started so far.
        failures: Ids and reasons of the trials whose last attempt failed.
        checkpoints: Id of each checkpoint, with its trial's.
        final: Ids of those of final networks.
        measured: Requests each snapshot has rows for, by checkpoint id.
        failed_measures: By checkpoint id, the requests that failed, with the reason.
        seconds: Seconds of training of each completed trial.
    """

    completed: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    attempts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    checkpoints: dict[str, str] = field(default_factory=dict)
    final: set[str] = field(default_factory=set)
    measured: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    failed_measures: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    seconds: dict[str, float] = field(default_factory=dict)

    def without_failures(self) -> Backlog:
        """The same as if what failed had never been tried."""
        return replace(self, failures={}, failed_measures=defaultdict(dict))

    def measured_snapshots(self, study: Study) -> set[str]:
        """Ids of the checkpoints of which nothing is to be measured any more."""
        return self.checkpoints.keys() - self.unmeasured_snapshots(study)

    def unmeasured_snapshots(self, study: Study) -> set[str]:
        """Ids of the checkpoints of which something is still to be measured."""
        wanted = study.wanted
        return {id_ for id_ in self.checkpoints if self.unmeasured(id_, wanted[id_ in self.final])}

    def unmeasured(self, checkpoint_id: str, wanted: Iterable[str]) -> tuple[str, ...]:
        """Those of the ``wanted`` requests that have neither succeeded nor failed."""
        done = self.measured.get(checkpoint_id, set())
        failed = self.failed_measures.get(checkpoint_id, {})
        return tuple(one for one in wanted if one not in done and one not in failed)


_TRIALS = """
    SELECT trial_id, status, attempt, error, train_seconds,
        -- Rows of each epoch on both splits, and of the last network: parts may have been lost.
        coalesce(counted.rows, 0) >= 2 * (floor(trials.epochs) + 1)
            AND reached.last IS NOT DISTINCT FROM updates
            AND trial_id NOT IN (
                SELECT trial_id FROM measures ANTI JOIN checkpoints USING (checkpoint_id)
            )
    FROM trials
    LEFT JOIN (SELECT trial_id, count(*) AS rows FROM epochs GROUP BY ALL) AS counted
        USING (trial_id)
    LEFT JOIN (SELECT trial_id, max(step) AS last FROM checkpoints GROUP BY ALL) AS reached
        USING (trial_id)
"""
_CHECKPOINTS = f"SELECT checkpoint_id, trial_id, {IS_FINAL} FROM checkpoints"
_MEASURES = f"""
    SELECT checkpoint_id, request, max(measure_version), bool_and({MEASURED}),
        any_value(error) FILTER (NOT {MEASURED})
    FROM measures GROUP BY ALL
"""


@again_if_compacted
def read_backlog(folder: ResultsFolder, study: Study) -> Backlog:
    """Read what is stored. What an earlier version of a measure gave counts as missing."""
    backlog = Backlog()
    versions = measure_versions(study)
    with connect(folder, measure_columns=False) as database:
        for trial_id, status, attempt, error, seconds, whole in database.execute(
            _TRIALS
        ).fetchall():
            backlog.attempts[trial_id] = attempt or 0
            if status == "completed":
                backlog.ended.add(trial_id)
            if status == "completed" and whole:
                backlog.completed.add(trial_id)
                backlog.seconds[trial_id] = seconds
            elif status == "failed":
                backlog.failures[trial_id] = error
        for checkpoint_id, trial_id, final in database.execute(_CHECKPOINTS).fetchall():
            backlog.checkpoints[checkpoint_id] = trial_id
            if final:
                backlog.final.add(checkpoint_id)
        for checkpoint_id, request, version, measured, error in database.execute(
            _MEASURES
        ).fetchall():
            if version is not None and version < versions.get(request, 0):
                continue
            if measured:
                backlog.measured[checkpoint_id].add(request)
            else:
                backlog.failed_measures[checkpoint_id][request] = error or "it failed"
        for checkpoint_id, request in _without_curves(database, study):
            backlog.measured[checkpoint_id].discard(request)
    return backlog


def _without_curves(database: Any, study: Study) -> list[tuple[str, str]]:
    """Checkpoints and requests whose values are stored, but not the curves that came with them."""
    kinds = {request: build_measure(options).curves for request, options in study.requests.items()}
    found: list[tuple[str, str]] = database.execute(
        "SELECT checkpoint_id, request FROM measures ANTI JOIN curves "
        "USING (checkpoint_id, request) WHERE list_contains($always, request) "
        "OR (list_contains($finite, request) AND status = 'ok') GROUP BY ALL",
        {
            "always": [request for request, kind in kinds.items() if kind == "always"],
            "finite": [request for request, kind in kinds.items() if kind == "if finite"],
        },
    ).fetchall()
    return found


@again_if_compacted
def read_audited(folder: ResultsFolder, study: Study) -> dict[str, set[str]]:
    """Requests that each snapshot was audited for, by checkpoint.

    What an earlier version of a measure gave counts as missing. Times say nothing here: a clock
    may be set back.
    """
    versions = measure_versions(study)
    audited: dict[str, set[str]] = defaultdict(set)
    with connect(folder.path, measure_columns=False) as database:
        for checkpoint_id, request, version in database.execute(
            "SELECT checkpoint_id, request, max(measure_version) FROM audit GROUP BY ALL"
        ).fetchall():
            # Earlier releases kept no versions; what they audited counts.
            if version is None or version >= versions.get(request, 0):
                audited[checkpoint_id].add(request)
    return audited


@again_if_compacted
def read_last_checkpoints(folder: ResultsFolder) -> dict[str, dict[str, Any]]:
    """The last checkpoint of each trial, whether or not its snapshot is there, by its id."""
    columns = ("checkpoint_id", "trial_id", "step", "path", "sha256")
    with connect(folder.path, measure_columns=False) as database:
        rows = database.execute(
            f"SELECT {', '.join(columns)} FROM checkpoints "
            "QUALIFY step = max(step) OVER (PARTITION BY trial_id)"
        ).fetchall()
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


def measure_versions(study: Study) -> dict[str, int]:
    """The version of the measure behind each request of a study."""
    return {request: build_measure(options).version for request, options in study.requests.items()}
