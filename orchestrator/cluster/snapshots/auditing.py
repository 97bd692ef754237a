"""Audit of a study under Ray: the last snapshots of some trials per condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray

from orchestrator.cluster.backlog import (
    TRIALS_PER_CONDITION,
    last_snapshots,
    measure_versions,
    missing_audits,
)
from orchestrator.cluster.processes.own_code import import_trial_parts
from orchestrator.cluster.processes.session import Slots, ray_session
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.processes.worker_process import prepare_process
from orchestrator.cluster.snapshots.parallel_tasks import Progress, run_tasks
from orchestrator.cluster.snapshots.subject import subject
from orchestrator.cluster.work_items import AuditItem
from orchestrator.errors import ResultsError
from orchestrator.measures import audit
from orchestrator.measures.audit import AuditRow
from orchestrator.measures.build import required_checks
from orchestrator.measures.trust.checks import network_findings
from orchestrator.measures.trust.finding import Findings
from orchestrator.results import (
    ResultsFolder,
    read_study,
    write_part,
)
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial, expand_trials
from orchestrator.training import read_snapshot

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
            return gone + run_audits(work_items, folder, study, trials, data, slots, progress)


def run_audits(
    work_items: list[AuditItem],
    folder: ResultsFolder,
    study: Study,
    trials: Iterable[Trial],
    data: SharedData,
    slots: Slots,
    progress: Progress,
) -> list[str]:
    """Audit snapshots, at most ``slots.most_measurers`` in parallel.

    Returns:
        Failed audits with their reasons; the remaining snapshots are still audited.
    """
    names = {str(item.checkpoint["checkpoint_id"]): item for item in work_items}
    return run_tasks("audit", _audit_snapshot, names, folder, study, trials, data, slots, progress)


def _audit_snapshot(
    item: AuditItem, folder: str, study_json: str, data: SharedData, threads: int
) -> None:
    prepare_process(threads)
    results, study = ResultsFolder.open(folder), Study.model_validate_json(study_json)
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    config, checkpoint = item.config, item.checkpoint
    import_trial_parts(config)
    dataset = data.load(config.data, device)
    state = read_snapshot(results.path / checkpoint["path"], checkpoint["sha256"])
    network = subject(
        config, item.seed, dataset, study.measuring, device, state, checkpoint["step"]
    )
    findings: Findings = {}
    if study.measuring.trust_checks:
        settings = study.measuring.model_copy(update={"dtype": "float64"})
        required = required_checks(study.all_measures)
        findings = network_findings(config, dataset, settings, required, device)
    found = audit(network, study.requests, findings=findings, measured=item.measured)
    rows = audit_rows(found, checkpoint, measure_versions(study))
    write_part(results, "audit", rows, str(checkpoint["checkpoint_id"]))


def audit_rows(
    found: Iterable[AuditRow], checkpoint: Mapping[str, Any], versions: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return rows of the table ``audit``.

    Args:
        found: Results of an audit of the checkpoint's snapshot.
        checkpoint: Row of the checkpoint in the table ``checkpoints``.
        versions: Request → version of its measure. The row of a change that does not apply to the
            network has no request and therefore no version.
    """
    identity = {name: checkpoint[name] for name in ("trial_id", "checkpoint_id")}
    return [
        {**asdict(row), **identity, "measure_version": versions.get(row.request)} for row in found
    ]
