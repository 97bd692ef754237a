"""The measurer: a process that keeps data sets in memory and measures and audits snapshots."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import ray
import torch

from orchestrator.cluster.processes.own_code import import_trial_parts
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.processes.worker_process import prepare_process
from orchestrator.cluster.snapshots.audited_snapshot import audit_snapshot
from orchestrator.cluster.snapshots.connected_pair import connect_pair
from orchestrator.cluster.snapshots.kept_examples import keep_examples, keep_subsets
from orchestrator.cluster.snapshots.subject import subject
from orchestrator.cluster.snapshots.trust_checks import ShapeChecks
from orchestrator.cluster.work_items import (
    AuditItem,
    Checked,
    Measured,
    MeasureFailure,
    MeasureItem,
    PairItem,
    WorkItem,
    part_name,
)
from orchestrator.errors import ResultsError
from orchestrator.measures import measure_snapshot
from orchestrator.measures.trust.finding import objection
from orchestrator.results import (
    ResultsFolder,
    is_final,
    set_aside_snapshot,
    storing,
    write_part,
)
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.training import read_snapshot
from orchestrator.training.process_guard import Change, ProcessState, lasting
from orchestrator.training.process_state import RandomStream


def measure(
    item: MeasureItem,
    folder: ResultsFolder,
    study: Study,
    data: SharedData,
    device: str,
    checks: ShapeChecks,
) -> Measured:
    """Measure one snapshot, store its rows as one part and reset the process.

    A snapshot that is missing or does not match its hash is set aside.
    """
    with _reset_at_end(item.config, device) as changes:
        measured = _measure(item, folder, study, data, device, checks)
    return replace(measured, spoilt=lasting(changes))


@contextmanager
def _reset_at_end(config: TrialConfig, device: str) -> Iterator[list[Change]]:
    """Reset the process after a trial's own code, and then add its changes to the yielded list."""
    process = ProcessState()
    import_trial_parts(config)
    process.imported()
    changes: list[Change] = []
    try:
        with RandomStream(torch.device(device)).borrowed():
            yield changes
    finally:
        changes += process.restore()


def _measure(
    item: MeasureItem,
    folder: ResultsFolder,
    study: Study,
    data: SharedData,
    device: str,
    checks: ShapeChecks,
) -> Measured:
    checkpoint = item.checkpoint
    try:
        state = read_snapshot(folder.path / checkpoint["path"], checkpoint["sha256"])
    except ResultsError:
        set_aside_snapshot(folder, checkpoint["trial_id"], checkpoint["step"])
        return Measured(item.checkpoint_id, rows=0, failures=(), pid=os.getpid(), lost=True)
    config, settings = item.config, study.measuring
    findings = checks.of(config, item.unchecked)
    dataset = data.load(config.data, device)
    network = subject(config, item.seed, dataset, settings, device, state, checkpoint["step"])
    context = network.context(getattr(torch, settings.dtype))
    identity = {
        "trial_id": checkpoint["trial_id"],
        "checkpoint_id": checkpoint["checkpoint_id"],
        "step": checkpoint["step"],
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "host": socket.gethostname(),
    }
    requests = {request: study.requests[request] for request in item.requests}
    rows = [
        {**row, **identity, "written_at": datetime.now(UTC)}
        for row in measure_snapshot(context, requests, findings=findings)
    ]
    # The table measures is written last: its rows mark the snapshot as measured.
    keep_subsets(folder, config.data, dataset, context)
    if is_final(checkpoint):
        keep_examples(folder, config.data, dataset, rows)
    write_part(folder, "curves", [row for row in rows if "curve" in row], part_name(item))
    write_part(folder, "measures", [row for row in rows if "measure" in row], part_name(item))
    objections = {objection({check}, findings) for check in findings}
    failures = tuple(
        MeasureFailure(
            item.trial_id,
            item.checkpoint_id,
            f"{row['request']}: {row['error']}",
            untrusted=row["error"] in objections,
        )
        for row in rows
        if row["status"] == "error"
    )
    return Measured(item.checkpoint_id, len(rows), failures, os.getpid())


@ray.remote(max_restarts=0)
class Measurer:
    """The Ray actor around :func:`measure`."""

    def __init__(self, folder: str, study: str, data: SharedData, threads: int) -> None:
        prepare_process(threads)
        self.folder = ResultsFolder(folder)
        self.study = Study.model_validate_json(study)
        self.data = data
        self.device = "cuda" if ray.get_gpu_ids() else "cpu"
        self.checks = ShapeChecks(self.folder, self.study, data, self.device)
        self.spoilt: str | None = None

    def ready(self) -> int:
        """Return the process id once the process runs and can reach the results."""
        ResultsFolder.open(self.folder.path)
        return os.getpid()

    def measure(self, item: MeasureItem) -> Measured:
        """Measure one snapshot, unless an earlier one spoilt this process."""
        common = self.folder, self.study, self.data, self.device, self.checks
        return self._unless_spoilt(item, lambda: measure(item, *common))

    def audit(self, item: AuditItem) -> Measured:
        """Audit one snapshot, unless an earlier one spoilt this process."""
        return self._unless_spoilt(item, lambda: self._alone(item, audit_snapshot))

    def connectivity(self, item: PairItem) -> Measured:
        """Compare two snapshots, unless an earlier one spoilt this process."""
        return self._unless_spoilt(item, lambda: self._alone(item, connect_pair))

    def _alone(self, item: AuditItem | PairItem, work: Callable[..., int]) -> Measured:
        """Do some work that stores rows, and reset the process."""
        with _reset_at_end(item.config, self.device) as changes:
            rows = work(item, self.folder, self.study, self.data, self.device)
        return Measured(item.name, rows, (), os.getpid(), spoilt=lasting(changes))

    def _unless_spoilt(self, item: WorkItem, work: Callable[[], Measured]) -> Measured:
        if self.spoilt:  # The dispatcher hands the work item to another measurer.
            return Measured(item.name, 0, (), os.getpid(), refused=True, spoilt=self.spoilt)
        self.spoilt = "a work item failed in it"  # Overwritten below on success.
        with storing(self.folder.path):
            measured = work()
        self.spoilt = measured.spoilt
        return measured

    def check(self, config: TrialConfig) -> Checked:
        """Check the shape of a trial's network. A process spoilt by it must be replaced."""
        with storing(self.folder.path), _reset_at_end(config, self.device) as changes:
            refusal = self.checks.refusal(config)
        self.spoilt = lasting(changes)
        return Checked(refusal, self.spoilt)
