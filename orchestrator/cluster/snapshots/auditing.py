"""Audit of a study under Ray: the last snapshots of some trials per condition."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cluster.backlog import TRIALS_PER_CONDITION, last_snapshots, missing_audits
from orchestrator.cluster.processes.session import ray_session
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.snapshots.dispatcher import Progress, work_off
from orchestrator.cluster.snapshots.measurer_pool import measurer_pool
from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, read_study
from orchestrator.study.trials import expand_trials

GONE = "its snapshot is gone and cannot be audited"


def audit_study(
    location: str | Path,
    *,
    trials_per_condition: int = TRIALS_PER_CONDITION,
    address: str | None = None,
    progress: Progress = lambda text: None,
) -> list[str]:
    """Run the missing audits and store them in the table ``audit``.

    All measures of the study are recomputed in float64 on the study's measured examples after each
    change. Values without a change are those stored, or are measured if they were not in float64.

    Args:
        location: Results folder, locked during the call.
        trials_per_condition: Number of audited trials per condition, those with the first seeds.
        address: Address of a Ray cluster; None starts Ray on this machine.
        progress: Called with one line after each snapshot.

    Returns:
        Failed audits with their reasons.

    Raises:
        ResultsError: If the folder has no results or no snapshots.
        DataError: If a data set cannot be read.
    """
    folder = ResultsFolder.open(location)
    study = read_study(folder)
    trials = expand_trials(study)
    snapshots = last_snapshots(folder, trials, trials_per_condition)
    if not any(there for _, _, there in snapshots):
        raise ResultsError(f"{location}: no snapshots yet", "run the study first")
    with folder.lock():
        missing = missing_audits(folder, study, trials, trials_per_condition)
        work_items = missing.work_items
        gone = [f"{checkpoint_id}: audit: {GONE}" for checkpoint_id in missing.gone]
        if not work_items:
            return gone
        with ray_session(address, study, trials, folder) as slots:
            data = SharedData(item.config.data for item in work_items)
            with measurer_pool(folder, study, data, slots) as pool:
                return gone + work_off(work_items, folder, pool, progress)
