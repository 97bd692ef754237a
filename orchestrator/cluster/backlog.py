"""What is to be measured: every snapshot's requests, less those that have rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.cluster.backlog_reading import Backlog
from orchestrator.cluster.measurer import MeasureOrder
from orchestrator.results import ResultsFolder, committed_snapshots
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial


def missing_measures(
    study: Study,
    trials: dict[str, Trial],
    backlog: Backlog,
    snapshots: Iterable[dict[str, Any]],
) -> list[MeasureOrder]:
    """The orders for ``snapshots`` of this study's trials that lack some request's rows."""
    wanted = tuple(study.requests)
    orders = []
    for row in snapshots:
        trial = trials.get(row["trial_id"])
        if trial is None:
            continue
        done = backlog.measured.get(row["checkpoint_id"], set())
        missing = tuple(request for request in wanted if request not in done)
        if missing:
            config = trial.config.model_dump_json()
            orders.append(MeasureOrder(row, trial.seed, config, missing))
    return orders


def snapshots_of(folder: ResultsFolder, trials: dict[str, Trial]) -> list[dict[str, Any]]:
    """The committed snapshots of ``trials``."""
    return committed_snapshots(folder, set(trials))
