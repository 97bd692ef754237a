"""Comparison under Ray of networks with different seeds, on the line between them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from orchestrator.cluster.backlog import last_snapshots
from orchestrator.cluster.processes.session import ray_session
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.snapshots.dispatcher import Progress, work_off
from orchestrator.cluster.snapshots.measurer_pool import measurer_pool
from orchestrator.cluster.work_items import PairItem
from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, connect, read_study
from orchestrator.study.spec import TrialConfig
from orchestrator.study.trials import Trial, expand_trials


def connect_study(
    location: str | Path, *, address: str | None = None, progress: Progress = lambda text: None
) -> list[str]:
    """Fill the table ``connectivity`` from the last snapshots of each two successive seeds.

    Args:
        location: Results folder, locked during the call.
        address: Address of a Ray cluster; None starts Ray on this machine.
        progress: Called with one line after each pair.

    Returns:
        Failed pairs with their reasons.

    Raises:
        ResultsError: If the folder has no results, or no condition has snapshots of two seeds.
        DataError: If a data set cannot be read.
    """
    folder = ResultsFolder.open(location)
    study = read_study(folder)
    trials = expand_trials(study)
    pairs = _pairs(folder, trials)
    if not pairs:
        raise ResultsError(
            f"{location}: no condition has snapshots of two seeds", "run the study with more seeds"
        )
    with folder.lock():
        done = _stored(folder)
        missing = [pair for pair in pairs if pair.name not in done]
        if not missing:
            return []
        with ray_session(address, study, trials, folder) as slots:
            data = SharedData(pair.config.data for pair in missing)
            with measurer_pool(folder, study, data, slots) as pool:
                return work_off(missing, folder, pool, progress)


def _pairs(folder: ResultsFolder, trials: Iterable[Trial]) -> list[PairItem]:
    by_condition: dict[str, list[tuple[TrialConfig, dict[str, Any]]]] = {}
    for trial, checkpoint, _ in last_snapshots(folder, trials):
        by_condition.setdefault(trial.condition_id, []).append((trial.config, checkpoint))
    return [
        PairItem(condition, config, one, other)
        for condition, members in by_condition.items()
        for (config, one), (_, other) in pairwise(members)
    ]


def _stored(folder: ResultsFolder) -> set[str]:
    with connect(folder, measure_columns=False) as database:
        rows = database.execute(
            "SELECT DISTINCT checkpoint_id || '-' || other_checkpoint_id FROM connectivity"
        ).fetchall()
    return {name for (name,) in rows}
