"""A measurer: a process that holds data sets and networks, and measures snapshots."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import ray
import torch

from orchestrator.cluster.examples import keep_examples, keep_subsets
from orchestrator.cluster.shared_data import SharedData
from orchestrator.cluster.trust import ShapeChecks, Spoiled
from orchestrator.cluster.worker_process import prepare_process
from orchestrator.errors import ResultsError
from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.models import build_model
from orchestrator.results import ResultsFolder, set_aside_snapshot, storing, write_part
from orchestrator.study.measure_options import MeasuringOptions
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.training import build_loss, read_snapshot, update_rule_at

PROBE_SEED = 0  # The same probes for every snapshot, so that differences are not the probes'.


@dataclass(frozen=True)
class MeasureOrder:
    """One snapshot and the requests that its rows are missing for.

    Attributes:
        checkpoint: The snapshot's row of the table ``checkpoints``.
        seed: Seed of its trial; rebuilds the network as it was initialized.
        config: The trial's :class:`TrialConfig`, as JSON.
        requests: Canonical requests, as :attr:`Study.requests` names them.
        attempts: How often a measurer was lost over it.
    """

    checkpoint: dict[str, Any]
    seed: int
    config: str
    requests: tuple[str, ...]
    attempts: int = 0

    @property
    def checkpoint_id(self) -> str:
        """The snapshot's name."""
        return str(self.checkpoint["checkpoint_id"])


@dataclass(frozen=True)
class Measured:
    """What came of one order.

    Attributes:
        checkpoint_id: The snapshot.
        rows: How many rows there are of it now.
        failures: The requests that failed, and why.
        pid: The process that measured.
        lost: Whether the snapshot was damaged or gone, and has to be taken again.
    """

    checkpoint_id: str
    rows: int
    failures: tuple[str, ...]
    pid: int
    lost: bool = False


def measure(
    order: MeasureOrder,
    folder: ResultsFolder,
    study: Study,
    data: SharedData,
    device: str,
    checks: ShapeChecks,
) -> Measured:
    """Measure one snapshot and store the rows as one part.

    A snapshot that is missing or does not match its hash is set aside.
    """
    checkpoint = order.checkpoint
    try:
        state = read_snapshot(folder.path / checkpoint["path"], checkpoint["sha256"])
    except ResultsError:
        set_aside_snapshot(folder, checkpoint["trial_id"], checkpoint["step"])
        return Measured(order.checkpoint_id, rows=0, failures=(), pid=os.getpid(), lost=True)
    config = TrialConfig.model_validate_json(order.config)
    settings: MeasuringOptions = study.measuring
    findings = checks.of(config)
    dataset = data.load(config.data, device)
    model = build_model(config.model, dataset.input_shape, dataset.classes, order.seed)
    initial_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    context = MeasureContext(
        model,
        dataset,
        build_loss(config.training.loss),
        device=device,
        dtype=getattr(torch, settings.dtype),
        seed=PROBE_SEED,
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
    if "final" in checkpoint["reason"].split("; "):
        keep_examples(folder, config.data, dataset, rows)
    write_part(folder, "curves", [row for row in rows if "curve" in row], part_name(order))
    write_part(folder, "measures", [row for row in rows if "measure" in row], part_name(order))
    failures = tuple(
        f"{row['request']}: {row['error']}" for row in rows if row["status"] == "error"
    )
    return Measured(order.checkpoint_id, len(rows), failures, os.getpid())


def part_name(order: MeasureOrder) -> str:
    """Name of the order's part: a retry writes over what an earlier attempt wrote."""
    digest = hashlib.sha256("\n".join(order.requests).encode()).hexdigest()[:8]
    return f"{order.checkpoint_id}-{digest}"


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

    def ready(self) -> int:
        """The process id, once the process is there and has reached the results."""
        ResultsFolder.open(self.folder.path)
        return os.getpid()

    def measure(self, order: MeasureOrder) -> Measured:
        """Measure one snapshot."""
        with storing(self.folder.path):
            return measure(order, self.folder, self.study, self.data, self.device, self.checks)

    def check(self, config: str) -> Spoiled | None:
        """Check the shape of a trial's network, and tell why it must not be trained, if so."""
        with storing(self.folder.path):
            return self.checks.spoiled(TrialConfig.model_validate_json(config))
