"""Comparison under Ray of networks with different seeds, on the line between them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray
import torch

from orchestrator.cluster.backlog import last_snapshots
from orchestrator.cluster.processes.own_code import import_trial_parts
from orchestrator.cluster.processes.session import ray_session
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.processes.worker_process import prepare_process
from orchestrator.cluster.snapshots.parallel_tasks import Progress, run_tasks
from orchestrator.cluster.snapshots.subject import subject
from orchestrator.cluster.work_items import PairItem
from orchestrator.errors import ResultsError
from orchestrator.measures import linear_connectivity
from orchestrator.measures.sharpness.linear_connectivity import barrier, why_no_barrier
from orchestrator.models import named_as
from orchestrator.results import ResultsFolder, connect, read_study, write_part
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.trials import Trial, expand_trials
from orchestrator.training import read_snapshot


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
        missing = {pair.name: pair for pair in pairs if pair.name not in done}
        if not missing:
            return []
        with ray_session(address, study, trials, folder) as slots:
            data = SharedData(pair.config.data for pair in missing.values())
            return run_tasks(
                "connectivity", _connect_pair, missing, folder, study, trials, data, slots, progress
            )


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


def _connect_pair(
    item: PairItem, folder: str, study_json: str, data: SharedData, threads: int
) -> None:
    prepare_process(threads)
    results, study = ResultsFolder.open(folder), Study.model_validate_json(study_json)
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    config, settings = item.config, study.measuring
    import_trial_parts(config)
    dataset = data.load(config.data, device)
    one, other = (
        read_snapshot(results.path / row["path"], row["sha256"]) for row in (item.one, item.other)
    )
    network = subject(config, 0, dataset, settings, device, one)
    context = network.context(getattr(torch, settings.dtype))
    found = linear_connectivity(context, named_as(network.model.state_dict(), other))
    curves = {
        ("train", "loss"): found.train_losses,
        ("train", "error"): found.train_errors,
        ("test", "loss"): found.test_losses,
        ("test", "error"): found.test_errors,
    }
    rows = [
        {
            "condition_id": item.condition_id,
            "trial_id": item.one["trial_id"],
            "other_trial_id": item.other["trial_id"],
            "checkpoint_id": item.one["checkpoint_id"],
            "other_checkpoint_id": item.other["checkpoint_id"],
            "split": split,
            "quantity": quantity,
            "barrier": barrier(found.alphas, values),
            "alpha": list(found.alphas),
            "value": list(values),
            "reason": why_no_barrier(found.alphas, values),
        }
        for (split, quantity), values in curves.items()
    ]
    write_part(results, "connectivity", rows, item.name)
