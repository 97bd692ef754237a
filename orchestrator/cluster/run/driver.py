"""One run of a study: train and measure until nothing is missing.

Ray Tune is only a scheduler here, and the results folder is the only memory. Each round compares
the study with the stored results, starts a fresh Tuner for the unfinished trials (each resumes
itself) and drains the measurers. A run that finds nothing missing starts nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from orchestrator.cluster.backlog import Backlog
from orchestrator.cluster.compacting import compact_if_many
from orchestrator.cluster.processes.own_code import import_own_parts
from orchestrator.cluster.run.rounds import StudyRun, run_rounds
from orchestrator.cluster.run.summary import RunSummary
from orchestrator.cluster.run.work_left import WorkLeft
from orchestrator.cluster.snapshots.lost_examples import restore_examples
from orchestrator.cluster.trials.balanced_order import balanced_order
from orchestrator.measures import catalog
from orchestrator.results import (
    Location,
    ResultsFolder,
    code_diff,
    collect_provenance,
    damaged_files,
    read_study,
    refuse_contradictions,
    set_aside_damaged_parts,
    storing,
    sweep_temporary,
    swept_columns,
    write_part,
)
from orchestrator.study.more_measures import with_measures
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial, expand_trials, hyperparameters, one_of_each_condition

_TRAINED_AGAIN = "; `run` retrains the network"


def run_study(
    study: Study,
    study_path: Path,
    location: str | Path,
    *,
    overrides: Sequence[str] = (),
    address: str | None = None,
    quiet: bool = False,
    retry_failed: bool = False,
    canary: bool = True,
    time_limit: float | None = None,
) -> RunSummary:
    """Train and measure everything that ``study`` lacks at ``location``.

    Args:
        study: The study.
        study_path: Its file, which is copied to the results folder.
        location: Results folder, created if needed, and locked during the run.
        overrides: The ``--set`` options, for the provenance.
        address: Address of a Ray cluster; None starts Ray on this machine.
        quiet: Whether to hide progress.
        retry_failed: Whether to retry failures from earlier runs.
        canary: Whether to run one canary trial per shape first on larger grids.
        time_limit: Seconds after which the run ends early. Trials then start in a balanced order.

    Returns:
        Summary of completed and failed work.

    Raises:
        ResultsError: If the folder belongs to another study or is in use, or if its finished trials
            contradict the study.
        ResourcesError: If the trials can never be scheduled.
        UserError: If a data set cannot be read.
        StorageError: If the disk is full or not writable.
        StudyIncomplete: If a canary trial failed.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has stopped.
    """
    started = time.monotonic()
    ordered = expand_trials(study)
    if time_limit is not None:
        ordered = balanced_order(ordered, study.seed_list)
    trials = {trial.trial_id: trial for trial in ordered}
    import_own_parts(study, trials.values())  # Fail now, not after hours of training.
    folder = ResultsFolder(location)
    aside = damaged_files(folder)
    with storing(folder.path):
        _refuse_contradictions(folder, study, trials.values())
        folder = ResultsFolder.create(
            folder.path,
            study.model_dump_json(indent=2),
            study_path.read_text(encoding="utf-8"),
            _provenance(study, study_path, overrides),
            code_diff(),
            swept=swept_columns(
                hyperparameters(study, trial) for trial in one_of_each_condition(trials.values())
            ),
        )
        with folder.lock():
            run = StudyRun(
                study,
                folder,
                trials,
                address,
                quiet,
                retry_failed=retry_failed,
                canary=canary,
                until=inf if time_limit is None else started + time_limit,
            )
            return _carry_out(run, started, aside)


def measure_study(
    location: str | Path,
    measures: Sequence[str],
    *,
    final: bool = False,
    address: str | None = None,
    quiet: bool = False,
    retry_failed: bool = False,
) -> RunSummary:
    """Add measures to a study that has been run, from its snapshots and without training.

    The measures are added to the study stored in the folder. Calling this again, even without
    ``measures``, therefore resumes all missing work.

    Args:
        location: Results folder, locked during the run.
        measures: Measures as in a study file, one YAML text each.
        final: Whether to add them for final networks only.
        address: Address of a Ray cluster; None starts Ray on this machine.
        quiet: Whether to hide progress.
        retry_failed: Whether to retry failures from earlier runs.

    Returns:
        Summary of completed and failed work.

    Raises:
        StudyFileError: If a text does not name a measure, or a parameter is wrong.
        ImportPathError: If the user's own measure cannot be imported.
        ResultsError: If ``location`` has no results, or they are in use.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has stopped.
    """
    started = time.monotonic()
    folder = ResultsFolder.open(location)
    study = with_measures(read_study(folder), measures, final=final)
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    import_own_parts(study, trials.values())  # Fail now, not after hours of training.
    with storing(folder.path), folder.lock():
        folder.extend(study.model_dump_json(indent=2), _provenance(study, folder.study_file))
        run = StudyRun(
            study, folder, trials, address, quiet, training=False, retry_failed=retry_failed
        )
        return _carry_out(run, started, damaged_files(folder))


def _provenance(
    study: Study, study_file: Path | Location, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the run's provenance, including its claims: those stated before results weigh more."""
    claims = [claim.model_dump(mode="json") for claim in study.claims]
    return collect_provenance(study_file, sys.argv, overrides, claims=claims)


def _carry_out(run: StudyRun, started: float, aside: set[Location]) -> RunSummary:
    """Clean up after earlier runs, do the missing work and summarize it."""
    folder, summary = run.folder, RunSummary(trials=len(run.trials))
    sweep_temporary(folder)
    set_aside_damaged_parts(folder)
    _write_catalog(folder, run.study)
    try:
        backlog = run_rounds(run, summary)
    finally:
        sweep_temporary(folder)  # Files of killed processes; all processes have ended.
    restore_examples(folder, run.study, run.trials)
    compact_if_many(folder)
    _sum_up(run, backlog, summary)
    summary.set_aside = sorted(map(str, damaged_files(folder) - aside))
    summary.seconds = time.monotonic() - started
    return summary


def _sum_up(run: StudyRun, backlog: Backlog, summary: RunSummary) -> None:
    summary.completed = len(run.trials.keys() & backlog.completed)
    left = summary.left or WorkLeft(frozenset(), frozenset())
    if run.training:
        for trial_id in run.trials.keys() - backlog.completed - left.trials:
            summary.failed_trials[trial_id] = backlog.failures.get(trial_id, "did not finish")
    unmeasured = backlog.unmeasured_snapshots(run.study)
    for checkpoint_id, trial_id in sorted(backlog.checkpoints.items()):
        failed = backlog.failed_measures.get(checkpoint_id, {})
        summary.failed_measures += [
            f"{checkpoint_id}: {request}: {failed[request]}"
            for request in run.study.requests
            if trial_id in run.trials and request in failed
        ]
        waits = trial_id in left.trials or checkpoint_id in left.snapshots
        if trial_id in run.trials and checkpoint_id in unmeasured and not waits:
            hint = "" if run.training else _TRAINED_AGAIN
            summary.failed_measures.append(f"{checkpoint_id}: its snapshot is gone{hint}")
    if not run.training:
        gone = sorted(run.audits().gone)
        summary.failed_audits += [f"{id_}: its snapshot is gone{_TRAINED_AGAIN}" for id_ in gone]


def _refuse_contradictions(folder: ResultsFolder, study: Study, trials: Collection[Trial]) -> None:
    """Refuse an edited study that contradicts finished trials, before the study is written."""
    if folder.resolved.is_file() and folder.study_name == study.study:
        with folder.lock():
            folder.restore_schemas()
            set_aside_damaged_parts(folder)
            refuse_contradictions(folder, study, trials)


def _write_catalog(folder: ResultsFolder, study: Study) -> None:
    entries = catalog(study.requests.values())
    write_part(folder, "measure_catalog", [asdict(entry) for entry in entries], "catalog")
