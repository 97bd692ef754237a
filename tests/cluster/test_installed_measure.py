"""A measure that another package brings: installed, asked for by name, measured in a study."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator

EXAMPLE = Path(__file__).parents[1] / "example_package"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Variables under which the example package is installed, and nothing else is changed."""
    folder = tmp_path_factory.mktemp("installed")
    source, target = folder / "source", folder / "site"
    source.mkdir()
    for path in EXAMPLE.rglob("*.*"):
        if "__pycache__" not in path.parts:  # building writes beside the source
            copy = source / path.relative_to(EXAMPLE)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    options = ["--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run([*pip, *options], check=True, capture_output=True)
    path = os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}


def command(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.ray
@pytest.mark.slow
def test_an_installed_measure_can_be_requested_by_name(environment, small_study, tmp_path):
    asked = ["prediction_entropy", {"prediction_entropy": {"temperature": 2.0}}]
    study = small_study(measures=asked, sweep={"training.batch_size": [100]}, seeds=1)
    results = tmp_path / "results"
    done = command(environment, "run", study, "--results", results)
    assert done.returncode == 0, done.stderr
    with orchestrator.connect(results) as database:
        rows = database.sql(
            "SELECT request, split, status, value FROM measures "
            "SEMI JOIN final USING (checkpoint_id) ORDER BY ALL"
        ).fetchall()
        catalog = database.sql("SELECT measure, unit FROM measure_catalog").fetchall()
    assert [row[:3] for row in rows] == [
        (request, split, "ok")
        for request in ("prediction_entropy", "prediction_entropy(temperature=2.0)")
        for split in ("test", "train")
    ]
    assert rows[0][3] < rows[2][3]  # a higher temperature is less certain
    assert ("prediction_entropy", "nat") in catalog


def test_the_name_of_a_measure_is_unknown_without_its_package(environment, small_study):
    study = small_study(measures=["prediction_entropy"])
    assert command(environment, "validate", study).returncode == 0
    refused = command(dict(os.environ), "validate", study)
    assert refused.returncode == 2
    assert "prediction_entropy" in refused.stdout
    assert refused.stderr == ""
