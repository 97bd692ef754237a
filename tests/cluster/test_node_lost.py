"""A node that is lost, with a trial and a measurer on it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

import orchestrator
from orchestrator.cluster.processes.private_ray import kept_private
from orchestrator.results import ResultsFolder
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import JOINS_PRIVATE
from tests.cluster.test_interruption import LONGER, finish

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PACKAGE = str(Path(orchestrator.__file__).parents[1])

# Two cores a node: one for a measurer, one for a trial.
SPREAD = {**LONGER, "resources": {"measurer": {"cpus": 1, "count": 2}}}


@pytest.fixture
def cluster(paced):
    """A head that runs nothing, and two nodes; all on this machine, as processes of their own."""
    with kept_private():
        found = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False},
        )
        found.nodes = [found.add_node(num_cpus=2) for _ in range(2)]
    yield found
    found.shutdown()


def listed(folder):
    return list(folder.iterdir()) if folder.exists() else []


def workers(node):
    """What the worker processes of a node call themselves, as ``ray::Measurer.measure``."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(x for x in status.read_text().splitlines() if x.startswith("PPid:"))
            if int(parent.split()[1]) == raylet:
                found.append(status.with_name("cmdline").read_text().split("\0")[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return " ".join(found)


@pytest.fixture
def run(cluster):
    """Starts ``run`` on the cluster; what is still there at the end is killed."""
    processes = []

    def start_there(study, folder):
        command = [sys.executable, "-m", "orchestrator", "run", study, "--results", folder]
        processes.append(
            subprocess.Popen(
                [*command, "--address", cluster.address],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **JOINS_PRIVATE, "PYTHONPATH": PACKAGE},
            )
        )
        return processes[-1]

    yield start_there
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "on_store",
    [
        pytest.param(False, id="on a disk"),
        pytest.param(True, id="on an object store", marks=pytest.mark.full),
    ],
)
def test_a_lost_node_costs_only_the_work_in_progress_there(
    cluster, paced, run, made_once, small_study, tmp_path, object_store, store_url, on_store
):
    study, disturbed = small_study(**SPREAD), tmp_path / "disturbed"
    process = run(study, store_url if on_store else disturbed)
    lost = cluster.nodes[1]
    deadline = time.monotonic() + 600
    snapshots = ResultsFolder(store_url if on_store else disturbed).snapshots
    while not (
        "ray::TrialTrainable" in (there := workers(lost))
        and "ray::Measurer" in there
        and sum(len(list(trial.glob("*.json"))) for trial in listed(snapshots)) >= 2
    ):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, there
        time.sleep(0.05)
    cluster.remove_node(lost, allow_graceful=False)
    paced.unlink()
    assert "4 of 4 trials completed" in finish(process)

    if on_store:
        object_store.copy(store_url, disturbed)
    assert_equal_results(disturbed, made_once(**LONGER))
