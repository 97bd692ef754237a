"""Which snapshots are to be audited: what a study asks for, less what is stored. Needs no Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.cluster.backlog_reading import read_audited, read_last_checkpoints
from orchestrator.results import ResultsFolder, committed_snapshots
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial

CLAIM = "flatness_depends_on_parametrization"
"""The claim that rests on audits; a study that makes it is audited as it runs."""
TRIALS_PER_CONDITION = 2
"""One alone would say nothing of how much trials of a condition differ."""


@dataclass(frozen=True)
class AuditOrder:
    """One snapshot to be audited.

    Attributes:
        checkpoint: Its row of the table ``checkpoints``.
        seed: Seed of its trial.
        config: The trial's :class:`TrialConfig`, as JSON.
    """

    checkpoint: Mapping[str, Any]
    seed: int
    config: str


@dataclass(frozen=True)
class AuditBacklog:
    """What is to be audited and is not yet.

    Attributes:
        orders: Those whose snapshots are there.
        gone: Id of each checkpoint whose snapshot is not, with its trial's.
    """

    orders: list[AuditOrder]
    gone: dict[str, str]


def missing_audits(
    folder: ResultsFolder,
    study: Study,
    trials: Iterable[Trial],
    trials_per_condition: int = TRIALS_PER_CONDITION,
) -> AuditBacklog:
    """The last snapshots that lack an audit of something the study measures."""
    audited = read_audited(folder, study)
    found = AuditBacklog([], {})
    for trial, checkpoint, there in last_snapshots(folder, trials, trials_per_condition):
        if study.requests.keys() <= audited.get(checkpoint["checkpoint_id"], set()):
            continue
        if there:
            found.orders.append(AuditOrder(checkpoint, trial.seed, trial.config.model_dump_json()))
        else:
            found.gone[checkpoint["checkpoint_id"]] = trial.trial_id
    return found


def audits_left(folder: ResultsFolder | None, study: Study, trials: list[Trial]) -> int:
    """How many snapshots a run would audit in the end.

    Args:
        folder: The results, if there are any yet.
        study: The study.
        trials: Its trials.
    """
    if not study.claims_built_in(CLAIM):
        return 0
    members = Counter(trial.condition_id for trial in trials)
    wanted = sum(min(TRIALS_PER_CONDITION, count) for count in members.values())
    if folder is None:
        return wanted
    begun = len(last_snapshots(folder, trials, TRIALS_PER_CONDITION))
    missing = missing_audits(folder, study, trials)
    return wanted - begun + len(missing.orders) + len(missing.gone)


def last_snapshots(
    folder: ResultsFolder, trials: Iterable[Trial], trials_per_condition: int | None = None
) -> list[tuple[Trial, dict[str, Any], bool]]:
    """Trials with the last checkpoint of each, all or so many of each condition, by their seeds.

    Returns:
        The trial, the checkpoint's row, and whether its snapshot is there: one that was deleted
        is told of, and no earlier one and no other trial taken in its place.
    """
    asked = {trial.trial_id: trial for trial in trials}
    there = {row["checkpoint_id"]: row for row in committed_snapshots(folder, set(asked))}
    last: dict[str, dict[str, Any]] = {}
    for row in {**read_last_checkpoints(folder), **there}.values():
        known = last.get(row["trial_id"])
        if known is None or known["step"] < row["step"]:
            last[row["trial_id"]] = row
    chosen: list[tuple[Trial, dict[str, Any], bool]] = []
    counts: dict[str, int] = {}
    for trial_id, trial in sorted(asked.items(), key=lambda item: item[1].seed):
        count = counts.get(trial.condition_id, 0)
        if trial_id in last and (trials_per_condition is None or count < trials_per_condition):
            counts[trial.condition_id] = count + 1
            chosen.append((trial, last[trial_id], last[trial_id]["checkpoint_id"] in there))
    return chosen
