"""Remaining work: snapshots with unmeasured requests, and trials to retrain for lost snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.cluster.backlog_reading import Backlog
from orchestrator.cluster.work_items import MeasureItem
from orchestrator.results import is_final
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial


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
