"""Whole small studies in this process: what workers would do side by side, one after the other.

Starting the processes of a study costs twenty times what training and measuring it does. Tests that
only need results get them from here, and tests of a run under Ray compare theirs with these.
"""

import pytest
import torch

import orchestrator
from orchestrator.cluster import driver
from orchestrator.cluster.backlog_reading import read_backlog
from orchestrator.cluster.measurer import measure
from orchestrator.cluster.trainable import TrialOrder, run_trial
from orchestrator.cluster.trust import ShapeChecks
from orchestrator.data import load_dataset
from orchestrator.results import committed_snapshots
from orchestrator.study.trials import hyperparameters


class Data:
    """The data sets of a study, as workers ask for them."""

    def load(self, options, device):
        return load_dataset(options).to(device)


def run_in_process(study, folder):
    """Train and measure what is missing at ``folder``, as ``orchestrator.run`` does."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(driver, "run_rounds", _run_rounds)
        return orchestrator.run(study, folder, quiet=True)


def _run_rounds(run, summary):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # As workers do.
    try:
        backlog = read_backlog(run.folder, run.study)
        for trial_id, trial in run.trials.items():
            if trial_id not in backlog.completed:
                order = TrialOrder(
                    trial_id,
                    trial.seed,
                    trial.config.model_dump_json(),
                    hyperparameters(run.study, trial),
                    backlog.attempts.get(trial_id, 0),
                    run.study.needs_of(trial.config),
                )
                *_, last = run_trial(order, run.folder, run.study.checkpoints, Data())
                summary.trained += last["status"] == "completed"
        snapshots = committed_snapshots(run.folder, set(run.trials))
        checks = ShapeChecks(run.folder, run.study, Data(), "cpu")
        for order in run.orders(read_backlog(run.folder, run.study), snapshots):
            measure(order, run.folder, run.study, Data(), "cpu", checks)
            summary.measured += 1
        return read_backlog(run.folder, run.study)
    finally:
        torch.set_num_threads(threads)
