"""Remaining work of a study: everything it expects minus everything stored.

The store is the queue. Nothing else tracks progress, so after any crash the next scan finds
exactly the remaining work. Does not need Ray.
"""

# ruff: noqa: S608 - names and conditions of this package.

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.cluster.audit_baselines import read_baselines
from orchestrator.cluster.work_items import AuditItem, MeasureItem
from orchestrator.measures import build_measure
from orchestrator.results import (
    IS_FINAL,
    MEASURED,
    ResultsFolder,
    again_if_compacted,
    committed_snapshots,
    connect,
    is_final,
)
from orchestrator.study.claim_options import BuiltInClaim, claim_with_audits
from orchestrator.study.shapes import measuring_shape
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial

TRIALS_PER_CONDITION = 2
"""One trial alone would not show how much trials of a condition differ."""


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


def measure_versions(study: Study) -> dict[str, int]:
    """Return the version of each request's measure."""
    return {request: build_measure(options).version for request, options in study.requests.items()}


def missing_measures(
    study: Study,
    trials: dict[str, Trial],
    backlog: Backlog,
    snapshots: Iterable[dict[str, Any]],
) -> list[MeasureItem]:
    """Return work items for ``snapshots`` of this study's trials that lack rows for any request.

    Final networks come first. Most figures compare them, so measures added to a finished study
    appear in the figures early.
    """
    wanted = study.wanted
    work_items = []
    for row in snapshots:
        trial = trials.get(row["trial_id"])
        if trial is None:
            continue
        missing = backlog.unmeasured(row["checkpoint_id"], wanted[is_final(row)])
        if missing:
            work_items.append(MeasureItem(row, trial.seed, trial.config, missing))
    return sorted(work_items, key=lambda item: not is_final(item.checkpoint))


def lost_trials(study: Study, backlog: Backlog, snapshots: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the ids of trials with a missing snapshot that still needs measuring.

    A fully measured snapshot may be deleted; no trial is retrained for it.
    """
    present = {row["checkpoint_id"] for row in snapshots}
    gone = backlog.unmeasured_snapshots(study) - present
    return {backlog.checkpoints[checkpoint_id] for checkpoint_id in gone}


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


@dataclass(frozen=True)
class AuditBacklog:
    """The audits still to do.

    Attributes:
        work_items: Audits whose snapshots exist.
        gone: Checkpoint id → trial id of each audit whose snapshot is missing.
    """

    work_items: list[AuditItem]
    gone: dict[str, str]


def missing_audits(
    folder: ResultsFolder,
    study: Study,
    trials: Iterable[Trial],
    trials_per_condition: int | None = TRIALS_PER_CONDITION,
    trials_per_shape: int | None = None,
) -> AuditBacklog:
    """Return the last snapshots that lack an audit of any request of the study.

    Args:
        folder: Results folder.
        study: The study.
        trials: Trials of the study.
        trials_per_condition: Maximum number of audited trials per condition; None for no limit.
        trials_per_shape: Maximum number of audited trials per network shape; None for no limit.
    """
    audited = read_audited(folder, study)
    found = AuditBacklog([], {})
    snapshots = last_snapshots(folder, trials, trials_per_condition, trials_per_shape)
    for trial, checkpoint, there in snapshots:
        if study.requests.keys() <= audited.get(checkpoint["checkpoint_id"], set()):
            continue
        if there:
            found.work_items.append(AuditItem(checkpoint, trial.seed, trial.config))
        else:
            found.gone[checkpoint["checkpoint_id"]] = trial.trial_id
    names = {item.checkpoint["checkpoint_id"] for item in found.work_items}
    measured = read_baselines(folder, names, measure_versions(study))
    work_items = [
        replace(item, measured=measured.get(item.checkpoint["checkpoint_id"], ()))
        for item in found.work_items
    ]
    return replace(found, work_items=work_items)


def claimed_audits(folder: ResultsFolder, study: Study, trials: Iterable[Trial]) -> AuditBacklog:
    """Return the missing audits that the study's claim needs, or none without such a claim."""
    claim = claim_with_audits(study.claims)
    if claim is None:
        return AuditBacklog([], {})
    return missing_audits(folder, study, trials, *_limits(claim))


def _limits(claim: BuiltInClaim) -> tuple[int | None, int | None]:
    """Return how many trials a claim needs audited, per condition and per network shape."""
    return (TRIALS_PER_CONDITION, None) if claim.networks is None else (None, claim.networks)


def audits_left(folder: ResultsFolder | None, study: Study, trials: list[Trial]) -> int:
    """Return how many snapshots a complete run would still audit.

    Args:
        folder: Results folder, if it exists yet.
        study: The study.
        trials: Trials of the study.
    """
    if (claim := claim_with_audits(study.claims)) is None:
        return 0
    wanted = len(_choose(trials, *_limits(claim)))
    if folder is None:
        return wanted
    begun = len(last_snapshots(folder, trials, *_limits(claim)))
    missing = claimed_audits(folder, study, trials)
    return wanted - begun + len(missing.work_items) + len(missing.gone)


def last_snapshots(
    folder: ResultsFolder,
    trials: Iterable[Trial],
    trials_per_condition: int | None = None,
    trials_per_shape: int | None = None,
) -> list[tuple[Trial, dict[str, Any], bool]]:
    """Return trials with the last checkpoint of each.

    Args:
        folder: Results folder.
        trials: Trials to choose from.
        trials_per_condition: Maximum number of trials per condition, those with the first seeds.
        trials_per_shape: Maximum number of trials per network shape, from any conditions.

    Returns:
        The trial, the checkpoint's row, and whether its snapshot exists. A deleted snapshot is
        reported, not replaced by an earlier snapshot or another trial.
    """
    asked = {trial.trial_id: trial for trial in trials}
    there = {row["checkpoint_id"]: row for row in committed_snapshots(folder, set(asked))}
    last: dict[str, dict[str, Any]] = {}
    for row in {**read_last_checkpoints(folder), **there}.values():
        known = last.get(row["trial_id"])
        if known is None or known["step"] < row["step"]:
            last[row["trial_id"]] = row
    begun = [trial for trial_id, trial in asked.items() if trial_id in last]
    return [
        (trial, row := last[trial.trial_id], row["checkpoint_id"] in there)
        for trial in _choose(begun, trials_per_condition, trials_per_shape)
    ]


def _choose(
    trials: Iterable[Trial], per_condition: int | None, per_shape: int | None
) -> list[Trial]:
    """Return at most the given numbers of trials, those with the first seeds.

    Trials of a shape are chosen by their ids, which are hashes. They come from anywhere in the
    grid, and the choice does not depend on the rest of the grid.
    """
    chosen: list[Trial] = []
    of_condition, of_shape = Counter[str](), Counter[str]()
    for trial in sorted(trials, key=lambda one: (one.seed, one.trial_id if per_shape else "")):
        if per_condition is not None and of_condition[trial.condition_id] >= per_condition:
            continue
        if per_shape is not None:
            shape = measuring_shape(trial.config)
            if of_shape[shape] >= per_shape:
                continue
            of_shape[shape] += 1
        of_condition[trial.condition_id] += 1
        chosen.append(trial)
    return chosen
