"""A small study, and one Ray for the whole test session."""

import json
import os
from pathlib import Path

import pytest
import ray
from ruamel.yaml import YAML

import orchestrator
from orchestrator.cluster.private_ray import PRIVATE, kept_private

# What joins a Ray that keeps to the loopback interface must do so too: it would look elsewhere.
JOINS_PRIVATE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

SMALL_STUDY = {
    "study": "small",
    "data": {"name": "digits", "train_size": 200},
    "model": {"name": "mlp", "width": 16, "depth": 1},
    "training": {
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "stop": {"epochs": 4},
    },
    "sweep": {"training.batch_size": [20, 100]},
    "seeds": 2,
    "checkpoints": {"train_loss": [1.0], "epochs": [1, 2]},
    "measures": ["margin", "hessian_trace", "norms"],
    "claims": ["flatness_tracks_margin"],
}


# Two trials, each with an epoch's snapshot, a milestone and the last one; every value is exact.
TWO_TRIALS = {
    "sweep": {},
    "seeds": 2,
    "training": {
        "batch_size": 20,
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "stop": {"epochs": 4},
    },
    "measures": ["margin", "norms"],
    "claims": [],
}


@pytest.fixture(scope="session")
def faults_file(tmp_path_factory):
    """Where the workers of the session's Ray look for faults; see ``failpoints``."""
    return tmp_path_factory.mktemp("faults") / "faults.json"


@pytest.fixture
def inject(faults_file):
    """Make faults happen; afterwards, all must have."""
    expected = []

    def write(*faults):
        faults_file.write_text(json.dumps(faults))
        for number, fault in enumerate(faults):
            for time in range(fault.get("times", 1) if "at" in fault else 0):
                expected.append(Path(f"{faults_file}.{number}.{time}"))

    yield write
    happened = [path.exists() for path in expected]
    for path in faults_file.parent.iterdir():
        path.unlink()
    assert all(happened), "a fault did not happen"


@pytest.fixture(scope="session")
def local_ray(faults_file):
    """One Ray on this machine, with this folder importable in its workers."""
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    with kept_private():
        ray.init(
            **PRIVATE,
            num_cpus=2,
            log_to_driver=False,
            runtime_env={
                "env_vars": {"PYTHONPATH": path, "FAILPOINTS_FILE": str(faults_file)},
                "worker_process_setup_hook": "failpoints.install",
            },
        )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def undisturbed(local_ray, tmp_path_factory):
    """The results of two trials that nothing befell; only to be read."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with (folder / "small.yaml").open("w") as file:
        YAML().dump({**SMALL_STUDY, **TWO_TRIALS}, file)
    assert orchestrator.run(folder / "small.yaml", folder / "results", quiet=True).complete
    return folder / "results"


@pytest.fixture
def small_study(tmp_path):
    """Write the small study, changed by keywords, and return its path."""

    def write(**changes):
        path = tmp_path / "small.yaml"
        with path.open("w") as file:
            YAML().dump({**SMALL_STUDY, **changes}, file)
        return path

    return write
