"""What is to be measured, or made again for it: every snapshot's requests, less those with rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.cluster.backlog_reading import Backlog
from orchestrator.cluster.measure_order import MeasureOrder
from orchestrator.results import is_final
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial


def missing_measures(
    study: Study,
    trials: dict[str, Trial],
    backlog: Backlog,
    snapshots: Iterable[dict[str, Any]],
) -> list[MeasureOrder]:
    """The orders for ``snapshots`` of this study's trials that lack some request's rows.

    Trained networks come first: they are what most figures compare, and what is added to a finished
    study shows its picture early.
    """
    wanted = study.wanted
    orders = []
    for row in snapshots:
        trial = trials.get(row["trial_id"])
        if trial is None:
            continue
        missing = backlog.unmeasured(row["checkpoint_id"], wanted[is_final(row)])
        if missing:
            config = trial.config.model_dump_json()
            orders.append(MeasureOrder(row, trial.seed, config, missing))
    return sorted(orders, key=lambda order: not is_final(order.checkpoint))


def lost_trials(study: Study, backlog: Backlog, snapshots: Iterable[Mapping[str, Any]]) -> set[str]:
    """Ids of the trials that lack a snapshot which is not measured yet.

    A snapshot that all has been measured of may be deleted; nothing is trained again for it.
    """
    present = {row["checkpoint_id"] for row in snapshots}
    gone = backlog.unmeasured_snapshots(study) - present
    return {backlog.checkpoints[checkpoint_id] for checkpoint_id in gone}
