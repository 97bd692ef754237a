"""The user's own modules go where the study goes, also to machines that lack them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

import orchestrator
from orchestrator.cluster.processes.own_code import copy_code
from orchestrator.study.study_file import load_study
from orchestrator.study.trials import expand_trials
from tests.cluster.conftest import JOINS_PRIVATE

ROOT = str(Path(orchestrator.__file__).parents[1])
# Where each process found the code: sent to it, or on this machine's disk as any module.
MEASURES = """
import orchestrator
from {beside} import sent

def where(context):
    yield "own", sent(__file__)
    yield "beside", sent(sent.__code__.co_filename)
    yield "orchestrator", sent(orchestrator.__file__)
"""
BESIDE = """
def sent(path):
    return float("runtime_resources" in path)
"""


@pytest.fixture
def own_modules(tmp_path, monkeypatch):
    """A module and a package beside the study, of names that no other test imports."""
    (tmp_path / "own_measures_to_send.py").write_text(MEASURES.format(beside="package_to_send.of"))
    (tmp_path / "package_to_send").mkdir()
    (tmp_path / "package_to_send" / "of.py").write_text(BESIDE)  # no __init__.py: also a package
    (tmp_path / "never_imported.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("own_measures_to_send", "package_to_send", "package_to_send.of"):
        sys.modules.pop(name, None)


def run(study, results, address, **environment):
    command = [sys.executable, "-m", "orchestrator", "run", str(study)]
    options = ["--results", str(results), "--address", address, "--quiet"]
    return subprocess.run(
        [*command, *options],
        env={**os.environ, **JOINS_PRIVATE, **environment},
        cwd=study.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def sent(study, folder):
    folder.mkdir()
    asked = load_study(study)
    copy_code(asked, expand_trials(asked), folder)
    return {path.name for path in folder.iterdir()}


def test_loaded_modules_beside_a_named_one_are_sent(small_study, own_modules):
    study = small_study(measures=["norms", "own_measures_to_send:where"])
    to = own_modules / "sent"
    assert sent(study, to) == {"orchestrator", "own_measures_to_send.py", "package_to_send"}
    assert (to / "package_to_send" / "of.py").read_text() == BESIDE
    assert (to / "orchestrator" / "results" / "database" / "views.sql").exists()
    assert not list(to.rglob("__pycache__"))


def test_installed_packages_are_not_sent(small_study, tmp_path):
    assert sent(small_study(), tmp_path / "one") == {"orchestrator"}
    study = small_study(measures=["scipy.special:erf", "math:sqrt"])
    assert sent(study, tmp_path / "other") == {"orchestrator"}


@pytest.mark.ray
@pytest.mark.slow
def test_workers_of_a_cluster_run_the_code_that_was_sent(local_ray, small_study, own_modules):
    study = small_study(
        measures=["own_measures_to_send:where"], sweep={"training.batch_size": [100]}, seeds=1
    )
    address = ray.get_runtime_context().gcs_address
    done = run(study, own_modules / "results", address, PYTHONPATH=ROOT)
    assert done.returncode == 0, done.stderr
    with orchestrator.connect(own_modules / "results") as database:
        rows = database.sql("SELECT DISTINCT measure, status, value FROM measures ORDER BY ALL")
        assert rows.fetchall() == [
            ("beside", "ok", 1.0),
            ("orchestrator", "ok", 1.0),
            ("own", "ok", 1.0),
        ]


@pytest.mark.ray
@pytest.mark.slow
def test_a_failing_import_on_a_worker_is_reported_before_training(local_ray, small_study, tmp_path):
    # Installed as far as the driver can tell, but not on the workers.
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "only_on_the_driver.py").write_text("def measure(context):\n    yield 'one', 1.0\n")
    study = small_study(measures=["only_on_the_driver:measure"])
    path = os.pathsep.join([str(site), ROOT])
    address = ray.get_runtime_context().gcs_address
    refused = run(study, tmp_path / "results", address, PYTHONPATH=path)
    assert refused.returncode == 2, refused.stderr
    assert "a worker of the cluster cannot run this study" in refused.stderr
    assert "no module named 'only_on_the_driver'" in refused.stderr
    assert "Traceback" not in refused.stderr
    with orchestrator.connect(tmp_path / "results") as database:
        assert database.sql("SELECT count(*) FROM trials").fetchall() == [(0,)]
