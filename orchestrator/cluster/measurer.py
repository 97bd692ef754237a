"""A measurer: a process that holds data sets and networks, and measures snapshots."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import ray
import torch

from orchestrator.cluster.examples import keep_examples, keep_subsets
from orchestrator.cluster.measure_order import Checked, Measured, MeasureOrder, part_name
from orchestrator.cluster.own_code import import_trial_parts
from orchestrator.cluster.shared_data import SharedData
from orchestrator.cluster.trust import ShapeChecks
from orchestrator.cluster.worker_process import prepare_process
from orchestrator.errors import ResultsError
from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.models import build_model, named_as
from orchestrator.results import (
    ResultsFolder,
    is_final,
    set_aside_snapshot,
    storing,
    write_part,
)
from orchestrator.study.measure_options import MeasuringOptions
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.training import build_loss, read_snapshot, update_rule_at
from orchestrator.training.process_guard import Change, ProcessState, lasting
from orchestrator.training.process_state import RandomStream

PROBE_SEED = 0  # The same probes for every snapshot, so that differences are not the probes'.


def measure(
    order: MeasureOrder,
    folder: ResultsFolder,
    study: Study,
    data: SharedData,
    device: str,
    checks: ShapeChecks,
) -> Measured:
    """Measure one snapshot and store the rows as one part. The process is reset at the end.

    A snapshot that is missing or does not match its hash is set aside.
    """
    with _reset_at_end(order.config, device) as changes:
        measured = _measure(order, folder, study, data, device, checks)
    return replace(measured, spoilt=lasting(changes))


@contextmanager
def _reset_at_end(config: str, device: str) -> Iterator[list[Change]]:
    """Reset the process after a trial's own code; the list has by then what was changed."""
    process = ProcessState()
    import_trial_parts(TrialConfig.model_validate_json(config))
    process.imported()
    changes: list[Change] = []
    try:
        with RandomStream(torch.device(device)).borrowed():
            yield changes
    finally:
        changes += process.restore()


def _measure(
    order: MeasureOrder,
    folder: ResultsFolder,
    study: Study,
    data: SharedData,
    device: str,
    checks: ShapeChecks,
) -> Measured:
    checkpoint = order.checkpoint
    try:
        state = read_snapshot(folder.path / checkpoint["path"], checkpoint["sha256"])
    except ResultsError:
        set_aside_snapshot(folder, checkpoint["trial_id"], checkpoint["step"])
        return Measured(order.checkpoint_id, rows=0, failures=(), pid=os.getpid(), lost=True)
    config = TrialConfig.model_validate_json(order.config)
    settings: MeasuringOptions = study.measuring
    findings = checks.of(config, order.unchecked)
    dataset = data.load(config.data, device)
    model = build_model(
        config.model, dataset.input_shape, dataset.classes, order.seed, dataset.train_x.dtype
    )
    initial_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(named_as(model.state_dict(), state))
    context = MeasureContext(
        model,
        dataset,
        build_loss(config.training.loss),
        device=device,
        dtype=getattr(torch, settings.dtype),
        seed=PROBE_SEED,
        trial_seed=order.seed,
        examples=settings.examples,
        examples_per_pass=settings.examples_per_pass,
        initial_state=initial_state,
        update_rule=update_rule_at(config.training, len(dataset.train_y), checkpoint["step"]),
    )
    identity = {
        "trial_id": checkpoint["trial_id"],
        "checkpoint_id": checkpoint["checkpoint_id"],
        "step": checkpoint["step"],
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "host": socket.gethostname(),
    }
    requests = {request: study.requests[request] for request in order.requests}
    rows = [
        {**row, **identity, "written_at": datetime.now(UTC)}
        for row in measure_snapshot(context, requests, findings=findings)
    ]
    # Whether a snapshot is measured is read off the table measures, which so comes last.
    keep_subsets(folder, config.data, dataset, context)
    if is_final(checkpoint):
        keep_examples(folder, config.data, dataset, rows)
    write_part(folder, "curves", [row for row in rows if "curve" in row], part_name(order))
    write_part(folder, "measures", [row for row in rows if "measure" in row], part_name(order))
    failures = tuple(
        f"{row['request']}: {row['error']}" for row in rows if row["status"] == "error"
    )
    return Measured(order.checkpoint_id, len(rows), failures, os.getpid())


@ray.remote(max_restarts=0)
class Measurer:
    """The actor around :func:`measure`."""

    def __init__(self, folder: str, study: str, data: SharedData, threads: int) -> None:
        prepare_process(threads)
        self.folder = ResultsFolder(folder)
        self.study = Study.model_validate_json(study)
        self.data = data
        self.device = "cuda" if ray.get_gpu_ids() else "cpu"
        self.checks = ShapeChecks(self.folder, self.study, data, self.device)
        self.spoilt: str | None = None

    def ready(self) -> int:
        """The process id, once the process is there and has reached the results."""
        ResultsFolder.open(self.folder.path)
        return os.getpid()

    def measure(self, order: MeasureOrder) -> Measured:
        """Measure one snapshot, unless an earlier one spoilt this process."""
        if self.spoilt:  # The dispatcher hands the order to another measurer.
            return Measured(order.checkpoint_id, 0, (), os.getpid(), spoilt=self.spoilt)
        self.spoilt = "an order failed in it"  # Unless it does not.
        with storing(self.folder.path):
            measured = measure(order, self.folder, self.study, self.data, self.device, self.checks)
        self.spoilt = measured.spoilt
        return measured

    def check(self, config: str) -> Checked:
        """Check the shape of a trial's network. A process that it spoils is to be replaced."""
        with storing(self.folder.path), _reset_at_end(config, self.device) as changes:
            refusal = self.checks.refusal(TrialConfig.model_validate_json(config))
        self.spoilt = lasting(changes)
        return Checked(refusal, self.spoilt)
