"""Trains the first trial of a study file in the test's own process."""

from __future__ import annotations

from pathlib import Path

from orchestrator.data import load_dataset
from orchestrator.study.study_file import load_study
from orchestrator.study.trials import expand_trials
from orchestrator.training import Checkpoint, train


def checkpoints_of(study_file: str, folder: Path) -> list[Checkpoint]:
    """Validate the text of a study file, train its first trial and return all its checkpoints."""
    path = folder / "study.yaml"
    path.write_text(study_file, "utf-8")
    study = load_study(path)
    trial = expand_trials(study)[0]
    events = train(trial.config, trial.seed, load_dataset(trial.config.data), study.checkpoints)
    return [event for event in events if isinstance(event, Checkpoint)]
