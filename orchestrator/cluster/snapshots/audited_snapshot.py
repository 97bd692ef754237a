"""The audit of one snapshot, in the process of a measurer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.cluster.backlog import measure_versions
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.snapshots.subject import subject
from orchestrator.cluster.work_items import AuditItem
from orchestrator.measures import audit
from orchestrator.measures.audit import AuditRow
from orchestrator.measures.build import required_checks
from orchestrator.measures.trust.checks import network_findings
from orchestrator.measures.trust.finding import Findings
from orchestrator.results import ResultsFolder, write_part
from orchestrator.study.spec import Study
from orchestrator.training import read_snapshot


def audit_snapshot(
    item: AuditItem, folder: ResultsFolder, study: Study, data: SharedData, device: str
) -> int:
    """Audit one snapshot and store its rows as one part.

    Returns:
        Number of rows.

    Raises:
        ResultsError: If the snapshot is missing or damaged.
    """
    config, checkpoint = item.config, item.checkpoint
    dataset = data.load(config.data, device)
    state = read_snapshot(folder.path / checkpoint["path"], checkpoint["sha256"])
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
    write_part(folder, "audit", rows, item.name)
    return len(rows)


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
