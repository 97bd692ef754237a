"""``run`` as a process of its own: killed, interrupted, and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import orchestrator

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# Long enough to be in the middle of: some ten seconds of training.
LONGER = {
    "data": {"name": "mnist1d", "train_size": 1000},
    "model": {"name": "mlp", "width": 64, "depth": 2},
    "training": {"optimizer": {"name": "sgd", "learning_rate": 0.05}, "stop": {"epochs": 60}},
    "sweep": {"training.batch_size": [10, 20]},
    "seeds": 2,
    "measures": ["margin", "gradient_norm"],
}
VALUES = """
    SELECT checkpoint_id, c.step, c.epoch, reason, train_loss, train_error, test_loss, sha256,
           measure, variant, split, value, standard_error, m.status
    FROM checkpoints c JOIN measures m USING (checkpoint_id) ORDER BY ALL
"""


def start(study, folder):
    command = [sys.executable, "-m", "orchestrator", "run", str(study), "--results", str(folder)]
    root = str(Path(orchestrator.__file__).parents[1])
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        cwd=folder.parent,
        start_new_session=True,
    )


def wait_for_snapshots(folder, process, count):
    deadline = time.monotonic() + 120
    while len(list(folder.glob("snapshots/*/*.json"))) < count:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def values(folder):
    with orchestrator.connect(folder) as database:
        return database.execute(VALUES).fetchall()


def finish(process):
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def test_killed_and_interrupted_runs_end_like_an_undisturbed_one(small_study, tmp_path):
    study = small_study(**LONGER)
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"

    killed = start(study, disturbed)
    wait_for_snapshots(disturbed, killed, 3)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    interrupted = start(study, disturbed)
    wait_for_snapshots(disturbed, interrupted, 6)
    asked = time.monotonic()
    os.kill(interrupted.pid, signal.SIGINT)
    output, _ = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130, output
    assert "Go on with:" in output
    assert time.monotonic() - asked < 30  # 15 s on a machine that does nothing else.
    assert not list(disturbed.rglob(".*.tmp"))

    with orchestrator.connect(disturbed) as database:
        done = set(
            database.execute("SELECT trial_id FROM trials WHERE status = 'completed'").fetchall()
        )
    output = finish(start(study, disturbed))
    assert output.rstrip().endswith("report.html")
    assert f"{4 - len(done)} trained" in output

    assert finish(start(study, undisturbed))
    assert values(disturbed) == values(undisturbed)


def test_a_wrong_study_is_one_message_and_exit_code_2(tmp_path):
    study = tmp_path / "wrong.yaml"
    study.write_text(json.dumps({"study": "wrong", "data": "mnist1d", "model": "mpl"}))
    process = start(study, tmp_path / "results")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "unknown name 'mpl'" in output
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()
