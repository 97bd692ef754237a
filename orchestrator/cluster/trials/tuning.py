"""Training of trials under a fresh Ray Tune Tuner, used as a scheduler but not as a database."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import ray
from ray import tune

from orchestrator.cluster.backlog import read_backlog
from orchestrator.cluster.compacting import compacting
from orchestrator.cluster.processes.session import Slots
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.cluster.trials.trainable import TrialTrainable
from orchestrator.cluster.trials.tune_hooks import (
    NextTrial,
    RunCallback,
    StopWhenUseless,
    TrialScheduler,
)
from orchestrator.cluster.work_items import TrialItem
from orchestrator.results import ResultsFolder, StorePath, write_part
from orchestrator.study.spec import Study
from orchestrator.study.trials import hyperparameters

TRIAL_RESTARTS = 2  # Restarts of a trial within one round, for any reason.


def train_trials(
    study: Study,
    folder: ResultsFolder,
    attempts: Mapping[str, int],
    data: SharedData,
    slots: Slots,
    state: RunState,
    gate: Gate,
) -> None:
    """Train the trials of ``state`` from their resume states; store the final failures.

    Args:
        study: The study.
        folder: Results folder of the study.
        attempts: Number of starts so far, by trial id.
        data: Data sets of the study.
        slots: Slots of the cluster.
        state: Lists the trials and receives their progress.
        gate: Decides which trial starts next and which end early.
    """
    work_items = {
        trial_id: TrialItem(
            trial_id,
            trial.seed,
            trial.config,
            hyperparameters(study, trial),
            attempts.get(trial_id, 0),
            study.needs_of(trial.config),
        )
        for trial_id, trial in state.trials.items()
    }
    with compacting(folder):
        results = build_tuner(folder, study, work_items, data, slots, state, gate).fit()
    errors = {r.config["trial_id"]: r.error for r in results if r.error is not None and r.config}
    for trial_id in state.untried:  # The next scan finds it missing.
        errors.pop(trial_id, None)
    told = read_backlog(folder, study).failures if errors else {}
    for trial_id, error in errors.items():
        state.failed[trial_id] = told.get(trial_id) or _reason(error)
        if trial_id not in told:
            row = {
                **work_items[trial_id].columns,
                "status": "failed",
                "error": state.failed[trial_id],
                "attempt": work_items[trial_id].attempt + TRIAL_RESTARTS + 1,
                "written_at": datetime.now(UTC),
            }
            write_part(folder, "trials", [row], f"{trial_id}-failed-{uuid.uuid4().hex[:8]}")


def build_tuner(
    folder: ResultsFolder,
    study: Study,
    work_items: dict[str, TrialItem],
    data: SharedData,
    slots: Slots,
    state: RunState,
    gate: Gate,
) -> tune.Tuner:
    """Return the Tuner that trains these trials.

    Args:
        folder: Results folder.
        study: The study.
        work_items: Trials by id; they reach trial processes through Ray's object store.
        data: Data sets of the trials.
        slots: Limits the number of trials in parallel.
        state: Decides where each trial runs, and receives its progress.
        gate: Decides which trial starts next and which end early.
    """
    trainable = tune.with_parameters(
        TrialTrainable,
        work_items=work_items,
        folder=str(folder.path),
        checkpoints=study.checkpoints.model_dump_json(),
        data=data,
    )

    # With a random part: two rounds may start in one second, and a clock may be set back.
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            num_samples=len(work_items),
            reuse_actors=True,
            scheduler=TrialScheduler(state),
            search_alg=NextTrial(gate, slots.trials),
            trial_dirname_creator=_trial_name,
            trial_name_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            **_storage(folder),
            failure_config=tune.FailureConfig(max_failures=TRIAL_RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[RunCallback(state)],
            stop=StopWhenUseless(gate),
            verbose=0,
        ),
    )


def _storage(folder: ResultsFolder) -> dict[str, Any]:
    """Return the location of Tune's own state, which is never read."""
    if isinstance(folder.tune, StorePath):
        return {"storage_path": folder.tune.key, "storage_filesystem": folder.tune.hasty_filesystem}
    return {"storage_path": str(folder.tune)}


def _reason(error: BaseException) -> str:
    """Return the user's part of a remote error: the last line of its traceback."""
    if isinstance(error, ray.exceptions.RayActorError):
        return "its process died repeatedly (killed or out of memory?)"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial_id"])
