"""Remaining work of a study: everything it expects minus everything stored.

The store is the queue. Nothing else tracks progress, so after any crash the next scan finds
exactly the remaining work.
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
    """The stored state of a study's trials and measures.

    Attributes:
        completed: Ids of trials that finished training and lack no rows.
        ended: Ids of trials that finished training, with or without missing rows.
        attempts: Number of starts so far, by trial id.
        failures: Reasons of trials whose last attempt failed, by trial id.
        checkpoints: Trial id of each checkpoint, by checkpoint id.
        final: Checkpoint ids of final networks.
        measured: Requests with rows, by checkpoint id.
        failed_measures: Failed requests with their reasons, by checkpoint id.
        seconds: Training seconds of completed trials, by trial id.
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
        """Return a copy in which failed trials and measures count as never tried."""
        return replace(self, failures={}, failed_measures=defaultdict(dict))

    def measured_snapshots(self, study: Study) -> set[str]:
        """Return the ids of checkpoints with nothing left to measure."""
        return self.checkpoints.keys() - self.unmeasured_snapshots(study)

    def unmeasured_snapshots(self, study: Study) -> set[str]:
        """Return the ids of checkpoints with something left to measure."""
        wanted = study.wanted
        return {id_ for id_ in self.checkpoints if self.unmeasured(id_, wanted[id_ in self.final])}

    def unmeasured(self, checkpoint_id: str, wanted: Iterable[str]) -> tuple[str, ...]:
        """Return the ``wanted`` requests that have neither succeeded nor failed."""
        done = self.measured.get(checkpoint_id, set())
        failed = self.failed_measures.get(checkpoint_id, {})
        return tuple(one for one in wanted if one not in done and one not in failed)


_TRIALS = """
    SELECT trial_id, status, attempt, error, train_seconds,
        -- Parts may have been lost: each epoch needs rows of both splits, the last network one.
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
    """Read the stored state. Values from an earlier version of a measure count as missing."""
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
    """Return checkpoints and requests whose values are stored without their curves."""
    kinds = {request: build_measure(options).curves for request, options in study.requests.items()}
    found: list[tuple[str, str]] = database.execute(
        """
        SELECT checkpoint_id, request FROM measures ANTI JOIN curves USING (checkpoint_id, request)
        WHERE list_contains($always, request)
            OR (list_contains($finite, request) AND status = 'ok')
        GROUP BY ALL
        """,
        {
            "always": [request for request, kind in kinds.items() if kind == "always"],
            "finite": [request for request, kind in kinds.items() if kind == "if finite"],
        },
    ).fetchall()
    return found


@again_if_compacted
def read_audited(folder: ResultsFolder, study: Study) -> dict[str, set[str]]:
    """Return the audited requests of each snapshot, by checkpoint id.

    Audits with an earlier version of a measure count as missing. Timestamps are not used, because
    a clock may be set back.
    """
    versions = measure_versions(study)
    audited: dict[str, set[str]] = defaultdict(set)
    with connect(folder.path, measure_columns=False) as database:
        for checkpoint_id, request, version in database.execute(
            "SELECT checkpoint_id, request, max(measure_version) FROM audit GROUP BY ALL"
        ).fetchall():
            # Earlier releases stored no versions; their audits count.
            if version is None or version >= versions.get(request, 0):
                audited[checkpoint_id].add(request)
    return audited


@again_if_compacted
def read_last_checkpoints(folder: ResultsFolder) -> dict[str, dict[str, Any]]:
    """Return the last checkpoint of each trial by checkpoint id, even if its snapshot is gone."""
    columns = ("checkpoint_id", "trial_id", "step", "path", "sha256")
    with connect(folder.path, measure_columns=False) as database:
        rows = database.execute(
            f"""
            SELECT {", ".join(columns)} FROM checkpoints
            QUALIFY step = max(step) OVER (PARTITION BY trial_id)
            """
        ).fetchall()
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


def measure_versions(study: Study) -> dict[str, int]:
    """Return the version of each request's measure."""
    return {request: build_measure(options).version for request, options in study.requests.items()}
