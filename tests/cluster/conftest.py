"""A small study, its results, and one Ray for all tests of a worker."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import ray
from filelock import FileLock
from ruamel.yaml import YAML

from orchestrator.cluster.processes.private_ray import PRIVATE, kept_private
from tests.cluster.in_process import run_in_process

# A process that joins a Ray on the loopback interface needs this to search that interface, too.
JOINS_PRIVATE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# One process trains and one measures: starting more costs more than it saves, and the test workers
# share the cores. The tests' Ray has one of each resource; a run's own Ray has plenty.
ONE_AT_A_TIME = {"trial": {"custom": {"trainer": 1}}, "measurer": {"custom": {"measurer": 1}}}

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
    "resources": ONE_AT_A_TIME,
}


# Two trials, each with an epoch's snapshot, a milestone and a final snapshot; all values are exact.
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
    """File in which the workers of the session's Ray find their faults; see ``failpoints``."""
    return tmp_path_factory.mktemp("faults") / "faults.json"


@pytest.fixture
def inject(faults_file):
    """Inject faults; fail at the end unless all of them happened."""
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
            resources={"trainer": 1, "measurer": 1},
            log_to_driver=False,
            runtime_env={
                "env_vars": {"PYTHONPATH": path, "FAILPOINTS_FILE": str(faults_file)},
                "worker_process_setup_hook": "failpoints.install",
            },
        )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """Results of the small study, changed by keywords and made only once, by any worker.

    Only read them; ``finished`` makes copies.
    """
    # Each worker has its own folder inside that of the session.
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent

    def make(**changes):
        study = {**SMALL_STUDY, **changes}
        digest = hashlib.sha256(json.dumps(study, sort_keys=True).encode()).hexdigest()[:12]
        folder = shared / f"made-once-{digest}"
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                path = shared / f"{digest}.yaml"
                write_study(path, study)
                made = folder.with_suffix(".tmp")
                shutil.rmtree(made, ignore_errors=True)  # Left by a failed test.
                run_in_process(path, made)
                made.rename(folder)
        return folder

    return make


@pytest.fixture
def finished(made_once, tmp_path):
    """A copy of the small study's results, changed by keywords, for the test to change."""

    def copy(name="results", **changes):
        return shutil.copytree(made_once(**changes), tmp_path / name)

    return copy


@pytest.fixture(scope="session")
def undisturbed(made_once):
    """Results of two undisturbed trials; only read them."""
    return made_once(**TWO_TRIALS)


def write_study(path, study):
    """Write a study file."""
    with path.open("w") as file:
        YAML().dump(study, file)


@pytest.fixture
def small_study(tmp_path):
    """Write the small study, changed by keywords, and return its path."""

    def write(**changes):
        path = tmp_path / "small.yaml"
        write_study(path, {**SMALL_STUDY, **changes})
        return path

    return write


@pytest.fixture
def paced(tmp_path, monkeypatch):
    """A file that makes networks ``faulty:Paced`` learn slowly as long as it exists."""
    path = tmp_path / "paced"
    path.touch()
    monkeypatch.setenv("PACED", str(path))
    return path
