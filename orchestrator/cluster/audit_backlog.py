"""Remaining audits: those that a study asks for minus those stored. Does not need Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.cluster.backlog_reading import read_audited, read_last_checkpoints
from orchestrator.cluster.work_items import AuditItem
from orchestrator.results import ResultsFolder, committed_snapshots
from orchestrator.study.claim_options import BuiltInClaim, claim_with_audits
from orchestrator.study.shapes import measuring_shape
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial

TRIALS_PER_CONDITION = 2
"""One trial alone would not show how much trials of a condition differ."""


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
    return found


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
