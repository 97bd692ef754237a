"""Rounds of training and measuring: find the missing work, do it and check again.

The results folder is the only memory. The next scan finds work that was killed, lost or set aside
as damaged in one round, and it is redone. Work that failed because of its own error is stored as
failed and left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from orchestrator.cluster.backlog import (
    AuditBacklog,
    Backlog,
    claimed_audits,
    lost_trials,
    missing_measures,
    read_backlog,
)
from orchestrator.cluster.compacting import compacting
from orchestrator.cluster.processes.session import Slots, bundle, distinct_needs, ray_session
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.run.progress_display import show_progress, tell
from orchestrator.cluster.run.summary import RunSummary
from orchestrator.cluster.snapshots.dispatcher import Dispatcher, work_off
from orchestrator.cluster.snapshots.measurer_pool import MeasurerPool, measurer_pool
from orchestrator.cluster.snapshots.trust_checks import check_shapes, lost_checks, store_unchecked
from orchestrator.cluster.trials.canary import Canary, choose_canaries
from orchestrator.cluster.trials.failing_nodes import FailingNodes
from orchestrator.cluster.trials.free_nodes import measurers_beside
from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.cluster.trials.tuning import train_trials
from orchestrator.cluster.work_items import MeasureItem
from orchestrator.results import (
    NewSnapshots,
    ResultsFolder,
    committed_snapshots,
    require_space,
    restore_checkpoints,
    set_aside_damaged_parts,
    set_aside_unreadable_records,
)
from orchestrator.study.shapes import measuring_shape
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.trials import Trial

MOST_ROUNDS = 3


@dataclass(frozen=True)
class StudyRun:
    """The task of one run.

    Attributes:
        study: The study.
        folder: Its results folder, locked.
        trials: Its trials, by id.
        address: Address of a Ray cluster; None starts Ray on this machine.
        quiet: Whether to hide progress.
        training: Whether to train trials; if not, only stored snapshots are measured.
        retry_failed: Whether to retry failures from earlier runs.
        canary: Whether the failure of a shape's first trial stops a larger grid.
    """

    study: Study
    folder: ResultsFolder
    trials: dict[str, Trial]
    address: str | None = None
    quiet: bool = False
    training: bool = True
    retry_failed: bool = False
    canary: bool = False

    def work_items(self, backlog: Backlog, snapshots: list[dict[str, Any]]) -> list[MeasureItem]:
        """Return the work items for some snapshots."""
        return missing_measures(self.study, self.trials, backlog, snapshots)

    def audits(self) -> AuditBacklog:
        """Return the missing audits that a claim of the study needs."""
        return claimed_audits(self.folder, self.study, self.trials.values())


@dataclass(frozen=True)
class Missing:
    """The work missing from the results.

    Attributes:
        trials: Trials to train, by id.
        work_items: Snapshots to measure.
        checks: One configuration per network shape whose stored checks were lost.
    """

    trials: dict[str, Trial] = field(default_factory=dict)
    work_items: list[MeasureItem] = field(default_factory=list)
    checks: list[TrialConfig] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.trials or self.work_items or self.checks)


def run_rounds(run: StudyRun, summary: RunSummary) -> Backlog:
    """Train, measure and audit until nothing is missing or nothing more can be done.

    Args:
        run: Task of the run.
        summary: Updated with the completed work.

    Returns:
        Stored state at the end.

    Raises:
        StorageError: If the disk is full or not writable.
    """
    backlog = read_backlog(run.folder, run.study)
    ended = run.trials.keys() & backlog.ended
    if restore_checkpoints(run.folder, ended, backlog.checkpoints.keys()):
        backlog = read_backlog(run.folder, run.study)
    known = backlog
    if run.retry_failed:
        known = backlog.without_failures()
    missing = _missing(run, known)
    # A trial may have been killed after its last row but before it discarded its resume state.
    run.folder.discard_resume_states(backlog.completed - missing.trials.keys())
    if not missing and not run.audits().work_items:
        return backlog
    require_space(run.folder.path)
    with ray_session(run.address, run.study, run.trials.values(), run.folder) as slots:
        data = SharedData(trial.config.data for trial in run.trials.values())
        nodes = FailingNodes()
        with measurer_pool(run.folder, run.study, data, slots) as pool:
            for _ in range(MOST_ROUNDS):
                if not missing:
                    break
                train_and_measure(run, missing, known, data, slots, pool, nodes, summary)
                set_aside_damaged_parts(run.folder)
                known = backlog = read_backlog(run.folder, run.study)
                missing = _missing(run, backlog)
            summary.failing_nodes = nodes.summary()
            summary.failed_audits = work_off(
                run.audits().work_items, run.folder, pool, tell(quiet=run.quiet)
            )
    return backlog


def _missing(run: StudyRun, backlog: Backlog) -> Missing:
    todo: dict[str, Trial] = {}
    measured = backlog.measured_snapshots(run.study)
    snapshots = committed_snapshots(run.folder, set(run.trials), without=measured)
    set_aside_unreadable_records(run.folder)
    if run.training:
        lost = lost_trials(run.study, backlog, snapshots)
        lost |= set(run.audits().gone.values())
        todo = {
            trial_id: trial
            for trial_id, trial in run.trials.items()
            if trial_id not in backlog.failures
            and (trial_id not in backlog.completed or trial_id in lost)
        }
    measured_trials = run.trials.keys() & set(backlog.checkpoints.values())
    checks = lost_checks(
        run.folder, run.study, (run.trials[trial_id].config for trial_id in measured_trials)
    )
    return Missing(todo, run.work_items(backlog, snapshots), checks)


def train_and_measure(
    run: StudyRun,
    missing: Missing,
    backlog: Backlog,
    data: SharedData,
    slots: Slots,
    pool: MeasurerPool,
    nodes: FailingNodes,
    summary: RunSummary,
) -> None:
    """Train and measure once everything that one scan found missing.

    Args:
        run: Task of the run.
        missing: Missing work.
        backlog: Stored state at the time of the scan.
        data: The study's data sets.
        slots: Slots of the cluster.
        pool: The measurers.
        nodes: Updated with the nodes where trials failed.
        summary: Updated with the completed work.

    Raises:
        ModelError: If a trial's network must not be trained.
        StorageError: If the disk is full or not writable.
    """
    state = RunState(
        trials=missing.trials,
        total=len(run.trials),
        completed=len(run.trials.keys() & backlog.completed - missing.trials.keys()),
        limit=run.study.resources.unmeasured_snapshots,
        slots=slots.trials,
        seconds=dict(backlog.seconds),
        nodes=nodes,
        bundles={
            trial_id: bundle(run.study.needs_of(trial.config))
            for trial_id, trial in missing.trials.items()
        },
    )
    unchecked: dict[str, str] = {}
    dispatcher = state.dispatcher = _dispatcher(run, backlog, slots, pool, state, unchecked)
    gate = Gate(state, _canary(run, missing, backlog, slots))
    try:
        if missing.trials:
            pool.shrink(slots.measurers)  # A round before this one may have had more.
        # Measurers before trials: training takes every free slot.
        dispatcher.start(
            lambda measurers: unchecked.update(_check(run, missing, measurers, dispatcher.replaced))
        )
        with show_progress(state, quiet=run.quiet):
            if missing.trials:
                train_trials(run.study, run.folder, backlog.attempts, data, slots, state, gate)
            gate.raise_cause()
            dispatcher.allow(slots.most_measurers)
            with compacting(run.folder):
                dispatcher.drain()
    finally:
        dispatcher.stop()
        summary.trained += len(state.trained)
        summary.measured += dispatcher.measured


def _check(
    run: StudyRun, missing: Missing, measurers: Sequence[Any], replaced: Callable[[Any], Any]
) -> dict[str, str]:
    """Check networks before training or measuring; return why shapes could not be checked."""
    if not run.study.measuring.trust_checks or not measurers:
        return {}
    limits = [need.timeout for need in distinct_needs(run.study, run.trials.values())]
    timeout = min(run.study.measuring.timeout, *(limit or inf for limit in limits))
    trained = [trial.config for trial in missing.trials.values()]
    measured = [run.trials[item.trial_id].config for item in missing.work_items]
    unchecked = check_shapes(measurers, replaced, trained, [*measured, *missing.checks], timeout)
    store_unchecked(run.folder, run.study, missing.checks, unchecked)
    return unchecked


def _canary(run: StudyRun, missing: Missing, backlog: Backlog, slots: Slots) -> Canary | None:
    """Return canaries if not all trials fit in parallel and some shape is not known to work."""
    if not run.canary or len(missing.trials) <= slots.trials:
        return None
    canary_of = choose_canaries(run.study, run.trials, missing.trials, backlog)
    if not canary_of or len(set(canary_of.values())) == len(missing.trials):
        return None

    def to_measure(trial_id: str) -> bool:
        return bool(run.work_items(backlog, committed_snapshots(run.folder, {trial_id})))

    return Canary(canary_of, to_measure)


def _dispatcher(
    run: StudyRun,
    backlog: Backlog,
    slots: Slots,
    pool: MeasurerPool,
    state: RunState,
    unchecked: Mapping[str, str],
) -> Dispatcher:
    measurer = run.study.resources.measurer
    booked = {"CPU": slots.measurer_cpus, "GPU": measurer.gpus, **measurer.custom}
    measured = backlog.measured_snapshots(run.study)
    new = NewSnapshots(run.folder, run.trials.keys(), measured)
    untouched = run.trials.keys() - state.trials.keys()

    def find_work() -> list[MeasureItem]:
        work_items = run.work_items(backlog, new.poll(untouched | state.ended))
        shapes = [measuring_shape(run.trials[o.trial_id].config) for o in work_items]
        return [
            replace(item, unchecked=unchecked.get(shape))
            for item, shape in zip(work_items, shapes, strict=True)
        ]

    return Dispatcher(
        run.folder,
        find_work,
        pool,
        reserved=slots.measurers,
        timeout=run.study.measuring.timeout,
        room=lambda: measurers_beside(state.places(), booked),
    )
