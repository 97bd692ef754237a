"""Auditing a study under Ray: the last snapshot of some trials of each condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray

from orchestrator.cluster.audit_backlog import (
    TRIALS_PER_CONDITION,
    AuditOrder,
    last_snapshots,
    missing_audits,
)
from orchestrator.cluster.backlog_reading import measure_versions
from orchestrator.cluster.own_code import import_trial_parts
from orchestrator.cluster.session import Slots, ray_session
from orchestrator.cluster.shared_data import SharedData
from orchestrator.cluster.tasks import Progress, run_tasks
from orchestrator.cluster.worker_process import prepare_process
from orchestrator.data.dataset import Dataset
from orchestrator.errors import ResultsError
from orchestrator.measures import Audited, audit
from orchestrator.measures.audit import AuditRow
from orchestrator.measures.build import required_checks
from orchestrator.measures.trust.checks import network_findings
from orchestrator.measures.trust.finding import Findings
from orchestrator.models import build_model, named_as
from orchestrator.results import (
    ResultsFolder,
    read_study,
    write_part,
)
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.trials import Trial, expand_trials
from orchestrator.training import build_loss, read_snapshot, update_rule_at

GONE = "its snapshot is gone, and with it what could be audited"


def audit_study(
    location: str | Path,
    *,
    trials_per_condition: int = TRIALS_PER_CONDITION,
    address: str | None = None,
    progress: Progress = lambda text: None,
) -> list[str]:
    """Audit what is not audited yet, and store it in the table ``audit``.

    Whatever the study measures is measured again, on the examples that the study measures on,
    in float64, as it is and after each change.

    Args:
        location: The results folder, locked for as long as this runs.
        trials_per_condition: How many trials of each condition, those of the first seeds.
        address: A Ray cluster; None starts Ray on this machine.
        progress: Told one line after each snapshot.

    Returns:
        What failed, and why.

    Raises:
        ResultsError: If there are no results or no snapshots.
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
        orders = missing.orders
        gone = [f"{checkpoint_id}: audit: {GONE}" for checkpoint_id in missing.gone]
        if not orders:
            return gone
        with ray_session(address, study, trials, folder) as slots:
            configs = [TrialConfig.model_validate_json(order.config) for order in orders]
            data = SharedData(config.data for config in configs)
            return gone + run_audits(orders, folder, study, trials, data, slots, progress)


def run_audits(
    orders: list[AuditOrder],
    folder: ResultsFolder,
    study: Study,
    trials: Iterable[Trial],
    data: SharedData,
    slots: Slots,
    progress: Progress,
) -> list[str]:
    """Audit snapshots side by side, as many as there may be measurers.

    Returns:
        What failed, and why; the other snapshots are audited nevertheless.
    """
    names = {str(order.checkpoint["checkpoint_id"]): order for order in orders}
    return run_tasks("audit", _audit_snapshot, names, folder, study, trials, data, slots, progress)


def _audit_snapshot(
    order: AuditOrder, folder: str, study_json: str, data: SharedData, threads: int
) -> None:
    prepare_process(threads)
    results, study = ResultsFolder.open(folder), Study.model_validate_json(study_json)
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    config = TrialConfig.model_validate_json(order.config)
    import_trial_parts(config)
    dataset = data.load(config.data, device)
    subject = audited_network(order, results, study, config, dataset, device)
    checkpoint = order.checkpoint
    findings: Findings = {}
    if study.measuring.trust_checks:
        settings = study.measuring.model_copy(update={"dtype": "float64"})
        required = required_checks(study.all_measures)
        findings = network_findings(config, dataset, settings, required, device)
    found = audit(subject, study.requests, findings=findings)
    rows = audit_rows(found, checkpoint, measure_versions(study))
    write_part(results, "audit", rows, str(checkpoint["checkpoint_id"]))


def audit_rows(
    found: Iterable[AuditRow], checkpoint: Mapping[str, Any], versions: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Rows of the table ``audit``.

    Args:
        found: What an audit of the checkpoint's snapshot gave.
        checkpoint: Its row of the table ``checkpoints``.
        versions: Request → the version of its measure. A change that does not exist for the
            network is of no request, and has none.
    """
    identity = {name: checkpoint[name] for name in ("trial_id", "checkpoint_id")}
    return [
        {**asdict(row), **identity, "measure_version": versions.get(row.request)} for row in found
    ]


def audited_network(
    order: AuditOrder,
    folder: ResultsFolder,
    study: Study,
    config: TrialConfig,
    dataset: Dataset,
    device: str,
) -> Audited:
    """The network of an order's snapshot, as its audit takes it."""
    checkpoint = order.checkpoint
    model = build_model(
        config.model, dataset.input_shape, dataset.classes, order.seed, dataset.train_x.dtype
    )
    initial_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = read_snapshot(folder.path / checkpoint["path"], checkpoint["sha256"])
    model.load_state_dict(named_as(model.state_dict(), state))
    return Audited(
        model.to(device),
        dataset,
        build_loss(config.training.loss),
        initial_state=initial_state,
        update_rule=update_rule_at(config.training, len(dataset.train_y), checkpoint["step"]),
        device=device,
        examples=study.measuring.examples,
        examples_per_pass=study.measuring.examples_per_pass,
        trial_seed=order.seed,
    )
