"""One run of a study: train and measure what is missing, until nothing is.

Ray Tune is a scheduler here and the results folder is the only memory. Each round looks at
what the study expects and what is stored, starts a fresh Tuner over the unfinished trials (each
resumes itself) and drains the measurers. A run that finds nothing missing starts nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray import tune

from orchestrator.cluster.audit_backlog import CLAIM, AuditOrder, missing_audits
from orchestrator.cluster.auditing import run_audits
from orchestrator.cluster.backlog import missing_measures, snapshots_of
from orchestrator.cluster.backlog_reading import Backlog, read_backlog
from orchestrator.cluster.dispatcher import Dispatcher, measurer_factory
from orchestrator.cluster.own_code import import_own_parts
from orchestrator.cluster.progress import show_progress, tell
from orchestrator.cluster.run_state import RunCallback, RunState, watch
from orchestrator.cluster.run_summary import RunSummary
from orchestrator.cluster.session import Slots, ray_session
from orchestrator.cluster.shared_data import SharedData
from orchestrator.cluster.trainable import TrialOrder, TrialTrainable
from orchestrator.measures import catalog
from orchestrator.results import (
    ResultsFolder,
    code_diff,
    collect_provenance,
    compact,
    read_study,
    sweep_temporary,
    swept_columns,
    write_part,
)
from orchestrator.study.more_measures import with_measures
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial, expand_trials, hyperparameters

MOST_ROUNDS = 3
TRIAL_FAILURES = 2  # Restarts of a trial within one round, after whatever killed it.
COMPACT_FROM_PARTS = 2000


def run_study(
    study: Study,
    study_path: Path,
    location: Path,
    *,
    overrides: Sequence[str] = (),
    address: str | None = None,
    quiet: bool = False,
) -> RunSummary:
    """Train and measure whatever of ``study`` is missing at ``location``.

    Args:
        study: The study.
        study_path: Its file, of which the results folder keeps a copy.
        location: The results folder, created if need be, and locked for as long as this runs.
        overrides: The ``--set`` options, for the provenance.
        address: A Ray cluster; None starts Ray on this machine.
        quiet: Show no progress.

    Returns:
        What was done and what failed.

    Raises:
        ResultsError: If the folder is another study's, or in use.
        ResourcesError: If the trials can never be scheduled.
        UserError: If a data set cannot be read.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything was stopped.
    """
    started = time.monotonic()
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    import_own_parts(study)  # They must exist before hours of training.
    folder = ResultsFolder.create(
        location.absolute(),
        study.model_dump_json(indent=2),
        study_path.read_text(encoding="utf-8"),
        collect_provenance(study_path, sys.argv, overrides),
        code_diff(),
        swept=swept_columns([hyperparameters(study, trial) for trial in trials.values()]),
    )
    summary = RunSummary(trials=len(trials))
    with folder.lock():
        sweep_temporary(folder)
        _write_catalog(folder, study)
        backlog = _rounds(study, folder, trials, summary, address, quiet)
        _compact_if_many(folder)
    summary.completed = len(trials.keys() & backlog.completed)
    for trial_id in trials:
        if trial_id not in backlog.completed:
            reason = backlog.failures.get(trial_id) or "did not finish"
            summary.failed_trials.setdefault(trial_id, reason)
    summary.seconds = time.monotonic() - started
    return summary


def measure_study(
    location: Path,
    measures: Sequence[str],
    *,
    address: str | None = None,
    quiet: bool = False,
) -> RunSummary:
    """Measure more of a study that has been run, from its snapshots; nothing is trained.

    The measures are added to the study that the folder keeps, so calling this again, also
    without ``measures``, goes on with whatever is missing.

    Args:
        location: The results folder, locked for as long as this runs.
        measures: As a study file lists them, one YAML text each.
        address: A Ray cluster; None starts Ray on this machine.
        quiet: Show no progress.

    Returns:
        What was done and what failed.

    Raises:
        StudyFileError: If a text names no measure, or a parameter is wrong.
        ImportPathError: If the user's own measure cannot be imported.
        ResultsError: If there are no results at ``location``, or they are in use.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything was stopped.
    """
    started = time.monotonic()
    folder = ResultsFolder.open(location)
    study = with_measures(read_study(folder), measures)
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    import_own_parts(study)  # They must exist before hours of training.
    summary = RunSummary(trials=len(trials))
    with folder.lock():
        folder.extend(
            study.model_dump_json(indent=2), collect_provenance(folder.study_file, sys.argv, ())
        )
        sweep_temporary(folder)
        _write_catalog(folder, study)
        backlog = _rounds(study, folder, trials, summary, address, quiet, training=False)
        _compact_if_many(folder)
    summary.completed = len(trials.keys() & backlog.completed)
    summary.seconds = time.monotonic() - started
    return summary


def _write_catalog(folder: ResultsFolder, study: Study) -> None:
    entries = catalog(study.requests.values())
    write_part(folder, "measure_catalog", [asdict(entry) for entry in entries], "catalog")


def _rounds(
    study: Study,
    folder: ResultsFolder,
    trials: dict[str, Trial],
    summary: RunSummary,
    address: str | None,
    quiet: bool,
    *,
    training: bool = True,
) -> Backlog:
    """Rounds of training and measuring, until nothing is missing or nothing more can be done."""
    backlog = read_backlog(folder, study)
    todo, orders = _missing(study, folder, trials, backlog, training)
    if not todo and not orders and not _audits(study, folder):
        return backlog
    with ray_session(address, study) as slots:
        data = SharedData(trial.config.data for trial in trials.values())
        for _ in range(MOST_ROUNDS if todo or orders else 0):
            _round(study, folder, trials, todo, backlog, data, slots, summary, quiet)
            backlog = read_backlog(folder, study)
            todo, orders = _missing(study, folder, trials, backlog, training)
            # What failed by itself would only fail again; what was lost is tried again.
            todo = [trial_id for trial_id in todo if trial_id not in summary.failed_trials]
            if not todo and (not orders or summary.failed_measures):
                break
        summary.failed_measures = summary.failed_measures + run_audits(
            _audits(study, folder), folder, study, data, slots, tell(quiet=quiet)
        )
    return backlog


def _audits(study: Study, folder: ResultsFolder) -> list[AuditOrder]:
    """The audits that a claim of the study needs and that are missing."""
    return missing_audits(folder, study) if study.claims_built_in(CLAIM) else []


def _missing(
    study: Study,
    folder: ResultsFolder,
    trials: dict[str, Trial],
    backlog: Backlog,
    training: bool,
) -> tuple[list[str], list[Any]]:
    """Ids of the trials to train, and the orders for snapshots that are there already."""
    todo = [id_ for id_ in trials if training and id_ not in backlog.completed]
    return todo, missing_measures(study, trials, backlog, snapshots_of(folder, trials))


def _round(
    study: Study,
    folder: ResultsFolder,
    trials: dict[str, Trial],
    to_train: Iterable[str],
    backlog: Backlog,
    data: SharedData,
    slots: Slots,
    summary: RunSummary,
    quiet: bool,
) -> None:
    todo = {id_: trials[id_] for id_ in to_train}
    state = RunState(
        trials=todo,
        total=len(trials),
        completed=len(trials.keys() & backlog.completed),
        limit=study.resources.unmeasured_snapshots,
        slots=slots.trials,
        seconds=dict(backlog.seconds),
    )
    dispatcher = _dispatcher(study, folder, trials, backlog, data, slots)
    state.dispatcher = dispatcher
    watch(state)
    try:
        # Measurers before trials: training takes all the slots that it finds.
        dispatcher.start()
        with show_progress(state, quiet=quiet):
            if todo:
                _train(study, folder, todo, backlog, data, slots, state)
            dispatcher.allow(slots.most_measurers)
            dispatcher.drain()
    finally:
        dispatcher.stop()
        watch(None)
    summary.trained += len(todo.keys() & state.ended) - len(state.failed)
    summary.measured += dispatcher.measured
    summary.failed_trials = {**summary.failed_trials, **state.failed}
    summary.failed_measures = dispatcher.failures


def _dispatcher(
    study: Study,
    folder: ResultsFolder,
    trials: dict[str, Trial],
    backlog: Backlog,
    data: SharedData,
    slots: Slots,
) -> Dispatcher:
    return Dispatcher(
        folder,
        lambda: missing_measures(study, trials, backlog, snapshots_of(folder, trials)),
        measurer_factory(
            folder,
            study.model_dump_json(),
            data,
            cpus=slots.measurer_cpus,
            gpus=study.resources.measurer.gpus,
            custom=study.resources.measurer.custom,
        ),
        reserved=slots.measurers,
        most=slots.most_measurers,
        timeout=study.measuring.timeout,
    )


def _train(
    study: Study,
    folder: ResultsFolder,
    todo: dict[str, Trial],
    backlog: Backlog,
    data: SharedData,
    slots: Slots,
    state: RunState,
) -> None:
    """Train the unfinished trials under one fresh Tuner; note those that failed for good."""
    orders = {
        trial_id: TrialOrder(
            trial_id,
            trial.seed,
            trial.config.model_dump_json(),
            hyperparameters(study, trial),
            backlog.attempts.get(trial_id, 0),
        )
        for trial_id, trial in todo.items()
    }
    needs = study.resources.trial
    trainable = tune.with_parameters(
        TrialTrainable,
        orders=orders,
        folder=str(folder.path),
        checkpoints=study.checkpoints.model_dump_json(),
        data=data,
        threads=max(1, int(needs.cpus)),
        device="cuda" if needs.gpus else "cpu",
    )
    bundle = {"CPU": needs.cpus, "GPU": needs.gpus, **needs.custom}
    tuner = tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
        param_space={"trial_id": tune.grid_search(list(todo))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            max_concurrent_trials=slots.trials,
            trial_dirname_creator=_trial_name,
            trial_name_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=datetime.now(UTC).strftime("%Y%m%dT%H%M%S"),
            storage_path=str(folder.path / "tune"),
            failure_config=tune.FailureConfig(max_failures=TRIAL_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[RunCallback()],
            verbose=0,
        ),
    )
    for result in tuner.fit():
        if result.error is not None and result.config is not None:
            trial_id = result.config["trial_id"]
            reason = _reason(result.error)
            state.failed[trial_id] = reason
            row = {
                **orders[trial_id].columns,
                "status": "failed",
                "error": reason,
                "attempt": orders[trial_id].attempt + TRIAL_FAILURES + 1,
                "written_at": datetime.now(UTC),
            }
            write_part(folder, "trials", [row], f"{trial_id}-failed-{time.time_ns()}")


def _reason(error: BaseException) -> str:
    """The user's part of a remote error: the last line of its traceback."""
    if isinstance(error, ray.exceptions.RayActorError):
        return "its process died again and again (killed, or out of memory?)"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial_id"])


def _compact_if_many(folder: ResultsFolder) -> None:
    tables = ("trials", "epochs", "checkpoints", "measures")
    parts = sum(1 for table in tables for _ in (folder.path / table).glob("*.parquet"))
    if parts > COMPACT_FROM_PARTS:
        compact(folder)
