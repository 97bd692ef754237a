"""The Ray Tune trainable: a process that trains one network after another."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch
from ray import tune

from orchestrator.cluster.processes.own_code import import_trial_parts
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.processes.worker_process import prepare_process
from orchestrator.cluster.work_items import TrialItem
from orchestrator.errors import StorageError, UserError, error_text
from orchestrator.models import build_model, parameter_count
from orchestrator.results import (
    ResultsFolder,
    commit_snapshot,
    read_resume_state,
    reason_text,
    require_space,
    snapshot_id,
    store_snapshot,
    storing,
    write_part,
    write_resume_state,
)
from orchestrator.study.spec import CheckpointOptions, TrialConfig
from orchestrator.training import (
    Checkpoint,
    EpochEnd,
    Finished,
    decode_resume_state,
    encode_resume_state,
    encode_snapshot,
    train,
)
from orchestrator.training.process_guard import ProcessState, lasting
from orchestrator.version import __version__

REPORT_SECONDS = 2.0
RESUME_SHARE = 0.05  # Maximum fraction of time spent writing resume states …
RESUME_SECONDS = 5.0  # … and minimum seconds between writes.
SPOILT = "spoilt"
"""Key in a trial's last report: an irreversible change to its process; None without a change."""


class TrialTrainable(tune.Trainable):  # type: ignore[misc]
    """The process that trains and resumes a trial and writes its rows and snapshots.

    Tune's own checkpoints are not used. After any restart, by Tune or by a later run, a trial
    continues from the newest resume state in the results folder.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        work_items: dict[str, TrialItem],
        folder: str,
        checkpoints: str,
        data: SharedData,
    ) -> None:
        """Prepare the process once; ``reset_config`` prepares it for each further trial."""
        self.location = folder
        self.folder: ResultsFolder | None = None  # The trial opens it and reports errors.
        self.checkpoints = CheckpointOptions.model_validate_json(checkpoints)
        self.work_items, self.data = work_items, data
        self.spoilt: str | None = None  # Irreversible change to this process, if any.
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        item = self.work_items[new_config["trial_id"]]
        prepare_process(max(1, int(item.needs.cpus)))
        self.work = self._work(item)
        return True

    def _work(self, item: TrialItem) -> Iterator[dict[str, Any]]:
        try:
            self.folder = self.folder or ResultsFolder.open(self.location)
            yield from run_trial(
                item,
                self.folder,
                self.checkpoints,
                self.data,
                device="cuda" if item.needs.gpus else "cpu",
                timeout=item.needs.timeout,
            )
        except StorageError as error:  # It affects the whole study; the trial has not failed.
            why = {"status": "not stored", "error": (error.message, error.hint)}
            yield {"trial_id": item.trial_id, "done": True, **why}

    def step(self) -> dict[str, Any]:
        """Train for about two seconds, to a resume state or to the end, and report progress."""
        if self.spoilt:  # ``TrialScheduler`` makes Tune start a new process for the next trial.
            raise RuntimeError(f"an earlier trial changed this process: {self.spoilt}")
        deadline = time.monotonic() + REPORT_SECONDS
        report: dict[str, Any] = {}
        for report in self.work:
            if report["done"] or report["resumable"] or time.monotonic() > deadline:
                break
        self.spoilt = report.get(SPOILT)
        return report


def run_trial(
    item: TrialItem,
    folder: ResultsFolder,
    checkpoints: CheckpointOptions,
    data: SharedData,
    *,
    device: str = "cpu",
    timeout: float | None = None,
) -> Iterator[dict[str, Any]]:
    """Train one trial, from its resume state if it has one, and store its results.

    The process is reset at the end, so that the next trial runs as it would in a fresh process.

    Yields:
        Progress of the trial after each event: ``trial_id``, ``epoch``, ``updates``,
        ``train_seconds``, ``resumable`` (whether its resume state was just written) and ``done``.
        The last report has no ``resumable``, but ``status`` (``completed`` or ``failed``),
        ``error`` and ``spoilt``, the change that makes this process unfit for another trial, if
        any.

    Raises:
        StorageError: If results cannot be stored.
    """
    process = ProcessState()
    import_trial_parts(item.config)
    process.imported()
    try:
        last: dict[str, Any] = {}
        for report in _run_trial(item, folder, checkpoints, data, device, timeout):
            if report["done"]:
                last = report
            else:
                yield report
    finally:
        changes = process.restore()
    yield last | {SPOILT: lasting(changes)}


def _run_trial(
    item: TrialItem,
    folder: ResultsFolder,
    checkpoints: CheckpointOptions,
    data: SharedData,
    device: str,
    timeout: float | None,
) -> Iterator[dict[str, Any]]:
    config = item.config
    attempt = _next_attempt(folder, item)
    identity = {
        **item.columns,
        "attempt": attempt,
        "host": socket.gethostname(),
        "device": _device_name(device),
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "orchestrator_version": __version__,
    }
    with storing(folder.path), _deadline(timeout, folder, identity):
        _write_trial(folder, identity, f"{attempt:04d}-running", status="running")
        try:
            yield from _train(item, config, identity, folder, checkpoints, data, device)
        except UserError as error:  # Retrying cannot help.
            why = {"status": "failed", "error": error_text(error)}
            _write_trial(folder, identity, f"{attempt:04d}-failed", **why)
            yield {"trial_id": item.trial_id, "done": True, **why}


@contextmanager
def _deadline(
    seconds: float | None, folder: ResultsFolder, identity: dict[str, Any]
) -> Iterator[None]:
    """End this process with a failure row if the block takes too long."""
    if seconds is None:
        yield
        return

    def end() -> None:
        try:
            why = f"its attempt took longer than resources.trial.timeout ({seconds:g} s)"
            name = f"{identity['attempt']:04d}-failed"
            _write_trial(folder, identity, name, status="failed", error=why)
        finally:
            os._exit(1)  # A hung trial cannot stop itself; Tune restarts it.

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _train(
    item: TrialItem,
    config: TrialConfig,
    identity: dict[str, Any],
    folder: ResultsFolder,
    checkpoints: CheckpointOptions,
    data: SharedData,
    device: str,
) -> Iterator[dict[str, Any]]:
    trial_id = item.trial_id
    dataset = data.load(config.data, device)
    model = build_model(
        config.model, dataset.input_shape, dataset.classes, item.seed, dataset.train_x.dtype
    )
    identity |= {"n_parameters": parameter_count(model), "dataset_hash": dataset.content_hash}
    buffered: dict[str, list[dict[str, Any]]] = {"epochs": [], "checkpoints": []}
    saved, save_seconds = time.monotonic(), 0.0
    for event in train(
        config,
        item.seed,
        dataset,
        checkpoints,
        device=device,
        resume=read_resume_state(folder, trial_id, decode_resume_state),
    ):
        if isinstance(event, Checkpoint):
            row = _store_snapshot(folder, trial_id, event)
            buffered["checkpoints"].append(row)
        elif isinstance(event, EpochEnd):
            buffered["epochs"] += _epoch_rows(trial_id, event)
            since = time.monotonic() - saved
            save = since > max(RESUME_SECONDS, save_seconds / RESUME_SHARE)
            if save:
                # Rows first: a resume state must never be ahead of the stored rows.
                _flush(folder, trial_id, buffered, event.step)
                started = time.monotonic()
                write_resume_state(folder, trial_id, encode_resume_state(event.resume()))
                saved = time.monotonic()
                save_seconds = saved - started
            yield {
                "trial_id": trial_id,
                "epoch": event.epoch,
                "updates": event.step,
                "train_seconds": event.seconds,
                "resumable": save,
                "done": False,
            }
        elif isinstance(event, Finished):
            _flush(folder, trial_id, buffered, event.updates)
            _write_trial(
                folder,
                identity,
                f"{identity['attempt']:04d}-completed",
                status="completed",
                stop_reason=event.stop_reason,
                epochs=event.epochs,
                updates=event.updates,
                examples_seen=event.examples_seen,
                train_seconds=event.train_seconds,
                evaluation_seconds=event.evaluation_seconds,
            )
            folder.discard_resume_states({trial_id})
            yield {
                "trial_id": trial_id,
                "epoch": event.epochs,
                "updates": event.updates,
                "train_seconds": event.train_seconds,
                "done": True,
                "status": "completed",
                "error": "",
            }


def _store_snapshot(folder: ResultsFolder, trial_id: str, event: Checkpoint) -> dict[str, Any]:
    require_space(folder.path, sum(tensor.nbytes for tensor in set(event.state.values())))
    content = encode_snapshot(event.state)
    path = store_snapshot(folder, trial_id, event.step, content)
    row = {
        "checkpoint_id": snapshot_id(trial_id, event.step),
        "trial_id": trial_id,
        "step": event.step,
        "epoch": event.epoch,
        "examples_seen": event.examples_seen,
        "reason": reason_text(event.reasons),
        "milestones": list(event.milestones),
        "train_loss": event.train_loss,
        "train_error": event.train_error,
        "test_loss": event.test_loss,
        "test_error": event.test_error,
        "path": "/".join(path.parts[len(folder.path.parts) :]),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "written_at": datetime.now(UTC),
    }
    commit_snapshot(folder, row)
    return row


def _epoch_rows(trial_id: str, event: EpochEnd) -> list[dict[str, Any]]:
    common = {
        "trial_id": trial_id,
        "epoch": event.epoch,
        "step": event.step,
        "examples_seen": event.examples_seen,
        "seconds": event.seconds,
        "learning_rate": event.learning_rate,
        "written_at": datetime.now(UTC),
    }
    return [
        {**common, "split": "train", "loss": event.train_loss, "error": event.train_error},
        {**common, "split": "test", "loss": event.test_loss, "error": event.test_error},
    ]


def _flush(
    folder: ResultsFolder, trial_id: str, buffered: dict[str, list[dict[str, Any]]], step: int
) -> None:
    for table, rows in buffered.items():
        write_part(folder, table, rows, f"{trial_id}-{step}")
        rows.clear()


def _write_trial(
    folder: ResultsFolder, identity: dict[str, Any], name: str, **columns: Any
) -> None:
    row = {**identity, **columns, "written_at": datetime.now(UTC)}
    write_part(folder, "trials", [row], f"{identity['trial_id']}-{name}")


def _next_attempt(folder: ResultsFolder, item: TrialItem) -> int:
    """Return the number of the first attempt, after those of earlier runs, that has not started."""
    attempt, begun = item.attempt + 1, folder.table("trials")
    while (begun / f"{item.trial_id}-{attempt:04d}-running.parquet").exists():
        attempt += 1
    return attempt


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
