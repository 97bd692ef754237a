"""Whole small studies in this process: what workers would do side by side, one after the other.

Starting the processes of a study costs twenty times what training and measuring it does. Tests that
only need results get them from here, and tests of a run under Ray compare theirs with these. What
decides, before and after, what is missing is the project's own code; only the workers are not.
"""

from contextlib import contextmanager, nullcontext
from math import inf

import pytest
import torch

import orchestrator
from orchestrator.cluster.processes.session import Slots
from orchestrator.cluster.run import rounds
from orchestrator.cluster.snapshots import auditing
from orchestrator.cluster.snapshots import connectivity as connecting
from orchestrator.cluster.snapshots.audited_snapshot import audit_snapshot
from orchestrator.cluster.snapshots.connected_pair import connect_pair
from orchestrator.cluster.snapshots.measurer import measure
from orchestrator.cluster.snapshots.trust_checks import ShapeChecks
from orchestrator.cluster.trials.trainable import run_trial
from orchestrator.cluster.work_items import TrialItem
from orchestrator.data import load_dataset
from orchestrator.results import committed_snapshots
from orchestrator.study.trials import hyperparameters


class Data:
    """The data sets of a study, as workers ask for them."""

    def __init__(self, options=()):
        pass

    def load(self, options, device):
        return load_dataset(options).to(device)


def run_in_process(study, folder, **options):
    """Train and measure what is missing at ``folder``, as ``orchestrator.run`` does."""
    with workers_in_process():
        return orchestrator.run(study, folder, quiet=True, **options)


@contextmanager
def workers_in_process():
    """Meanwhile, what is given to workers is done here, and no Ray is started."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (rounds, auditing, connecting):
            patched.setattr(module, "ray_session", lambda *_: nullcontext(Slots(1, 1, 1, 1)))
            patched.setattr(module, "SharedData", Data)
            patched.setattr(module, "measurer_pool", _no_measurers)
            patched.setattr(module, "work_off", _work_off)
        patched.setattr(rounds, "train_and_measure", _train_and_measure)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # As workers do.
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _no_measurers(folder, study, data, slots):
    return nullcontext((study, data))


def _train_and_measure(run, missing, backlog, data, slots, pool, nodes, summary):
    checks, measured = ShapeChecks(run.folder, run.study, data, "cpu"), set()

    def measure_missing(work_items):
        for item in work_items:
            if item.checkpoint_id in measured:
                continue
            if not measure(item, run.folder, run.study, data, "cpu", checks).lost:
                measured.add(item.checkpoint_id)

    for config in missing.checks:
        checks.of(config)
    measure_missing(missing.work_items)
    for trial_id, trial in missing.trials.items():
        item = TrialItem(
            trial_id,
            trial.seed,
            trial.config,
            hyperparameters(run.study, trial),
            backlog.attempts.get(trial_id, 0),
            run.study.needs_of(trial.config),
        )
        *_, last = run_trial(item, run.folder, run.study.checkpoints, data)
        summary.trained += last["status"] == "completed"
    measure_missing(run.work_items(backlog, committed_snapshots(run.folder, set(run.trials))))
    summary.measured += len(measured)


def _work_off(work_items, folder, pool, progress, until=inf):
    study, data = pool
    failures = []
    for number, item in enumerate(work_items, 1):
        work = audit_snapshot if item.task == "audit" else connect_pair
        try:
            work(item, folder, study, data, "cpu")
        except Exception as error:  # Whatever a worker would have sent back.
            failures.append(f"{item.name}: {item.task}: {error}".partition("\n")[0])
        progress(f"{item.task} {number}/{len(work_items)}")
    return failures
