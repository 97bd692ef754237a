"""What is to be measured, or made again for it: every snapshot's requests, less those with rows."""

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
    """The work items for ``snapshots`` of this study's trials that lack some request's rows.

    Trained networks come first: they are what most figures compare, and what is added to a finished
    study shows its picture early.
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
    """Ids of the trials that lack a snapshot which is not measured yet.

    A snapshot that all has been measured of may be deleted; nothing is trained again for it.
    """
    present = {row["checkpoint_id"] for row in snapshots}
    gone = backlog.unmeasured_snapshots(study) - present
    return {backlog.checkpoints[checkpoint_id] for checkpoint_id in gone}
