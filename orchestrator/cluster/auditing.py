"""Auditing a study: the last snapshot of each condition, in this process. Needs no Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from orchestrator.data import load_dataset
from orchestrator.data.dataset import Dataset
from orchestrator.errors import ResultsError
from orchestrator.measures import Audited, audit
from orchestrator.models import build_model
from orchestrator.results import ResultsFolder, committed_snapshots, read_study, write_part
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial, expand_trials
from orchestrator.training import build_loss, read_snapshot, update_rule_at


def audit_study(
    location: Path,
    *,
    trials_per_condition: int = 1,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda text: None,
) -> int:
    """Audit the last snapshot of some trials of each condition, and store the table ``audit``.

    Whatever the study measures is measured again, on the examples that the study measures on,
    in float64, as it is and after each change.

    Args:
        location: The results folder, locked for as long as this runs.
        trials_per_condition: How many trials of each condition, those of the first seeds.
        device: Where to compute.
        progress: Told one line before each snapshot.

    Returns:
        The number of snapshots that were audited.

    Raises:
        ResultsError: If there are no results or no snapshots, or a snapshot is damaged.
        DataError: If a data set is not what the trials learned from.
    """
    folder = ResultsFolder.open(location)
    study = read_study(folder)
    chosen = _chosen(folder, study, trials_per_condition)
    if not chosen:
        raise ResultsError(f"{location}: no snapshots yet", "run the study first")
    datasets: dict[str, Dataset] = {}
    with folder.lock():
        for number, (trial, checkpoint) in enumerate(chosen, 1):
            progress(f"{number}/{len(chosen)} {checkpoint['checkpoint_id']}")
            key = trial.config.data.model_dump_json()
            if key not in datasets:
                datasets[key] = load_dataset(trial.config.data)
            state = read_snapshot(folder.path / checkpoint["path"], checkpoint["sha256"])
            step = checkpoint["step"]
            subject = _subject(study, trial, datasets[key].to(device), state, step, device)
            identity = {name: checkpoint[name] for name in ("trial_id", "checkpoint_id")}
            rows = [{**asdict(row), **identity} for row in audit(subject, study.requests)]
            write_part(folder, "audit", rows, str(checkpoint["checkpoint_id"]))
    return len(chosen)


def _chosen(
    folder: ResultsFolder, study: Study, trials_per_condition: int
) -> list[tuple[Trial, dict[str, Any]]]:
    """Trials with their last snapshot, at most so many of each condition."""
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    last: dict[str, dict[str, Any]] = {}
    for row in committed_snapshots(folder, set(trials)):
        known = last.get(row["trial_id"])
        if known is None or known["step"] < row["step"]:
            last[row["trial_id"]] = row
    chosen: list[tuple[Trial, dict[str, Any]]] = []
    counts: dict[str, int] = {}
    for trial_id, trial in trials.items():
        count = counts.get(trial.condition_id, 0)
        if trial_id in last and count < trials_per_condition:
            counts[trial.condition_id] = count + 1
            chosen.append((trial, last[trial_id]))
    return chosen


def _subject(
    study: Study,
    trial: Trial,
    dataset: Dataset,
    state: dict[str, torch.Tensor],
    step: int,
    device: str,
) -> Audited:
    config = trial.config
    model = build_model(config.model, dataset.input_shape, dataset.classes, trial.seed)
    initial_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    return Audited(
        model.to(device),
        dataset,
        build_loss(config.training.loss),
        initial_state=initial_state,
        update_rule=update_rule_at(config.training, len(dataset.train_y), step),
        device=device,
        examples=study.measuring.examples,
        examples_per_pass=study.measuring.examples_per_pass,
    )
