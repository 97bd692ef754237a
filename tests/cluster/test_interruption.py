"""``run`` as a process of its own: killed, interrupted, stopped by the clock, and run again."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest

import orchestrator
from tests.cluster.comparison import assert_equal_results
from tests.cluster.leftovers import nothing_left

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# Minutes of training while it is paced, seconds afterwards: tests can be in the middle of it on
# every machine.
LONGER = {
    "data": {"name": "mnist1d", "train_size": 1000},
    "model": {"name": f"{__package__}.faulty:Paced", "width": 64},
    "training": {"optimizer": {"name": "sgd", "learning_rate": 0.05}, "stop": {"epochs": 30}},
    "sweep": {"training.batch_size": [10, 20]},
    "seeds": 2,
    "measures": ["margin", "gradient_norm"],
}
INTERRUPTED, WORK_LEFT = 130, 4


def start(study, folder, *options, **more):
    command = [sys.executable, "-m", "orchestrator", "run", str(study), "--results", str(folder)]
    command += options
    root = str(Path(orchestrator.__file__).parents[1])
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": root},
        start_new_session=True,
        **{"cwd": Path(folder).parent, **output, **more},
    )


def start_in_terminal(study, folder):
    """Start as the leader of a terminal of its own; also returns the terminal's other end."""
    ours, theirs = pty.openpty()
    process = start(
        study,
        folder,
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    return process, ours


def begun(folder):
    """How many attempts at trials were begun so far."""
    return len(list(folder.glob("trials/*-running.parquet")))


def wait_until(there, process):
    deadline = time.monotonic() + 600
    while not there():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def start_and_train(study, folder, starting=start):
    before = begun(folder)
    started = starting(study, folder)
    process = started if starting is start else started[0]
    wait_until(lambda: begun(folder) > before, process)
    return started


@pytest.fixture
def left_by_ray(monkeypatch):
    """What the runs of a test left in Ray's temporary folder, which is theirs alone.

    In the usual one, a folder's name ends in a process number, and numbers come again.
    """
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # Short: sockets are made below.
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield lambda: {path.name for path in Path(folder, "ray").glob("session_2*")}


def finish(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def signal_once(process, number):
    os.kill(process.pid, number)


def signal_group(process, number):
    """As the terminal does: every process of the run gets it."""
    os.killpg(process.pid, number)


def signal_until_it_ends(process, number):
    while process.poll() is None:
        os.kill(process.pid, number)
        time.sleep(0.1)


# How a run is ended, and by which signal. What a single signal or a second one does to the driver
# itself is tried in test_interrupts.
WAYS = {
    "a key": (signal.SIGINT, signal_group),
    "a scheduler": (signal.SIGTERM, signal_once),
    "a key held down": (signal.SIGINT, signal_until_it_ends),
}


def kill_in_the_middle(study, folder):
    """Kill a run and nothing that it started."""
    killed = start(study, folder)
    wait_until(lambda: len(list(folder.glob("snapshots/*/*.json"))) >= 3, killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param(["a key"], id="by a key"),
        pytest.param(list(WAYS), id="in every way", marks=pytest.mark.full),
    ],
)
def test_killed_and_interrupted_runs_end_like_an_undisturbed_one(
    ways, made_once, small_study, tmp_path, left_by_ray, paced
):
    study, disturbed = small_study(**LONGER), tmp_path / "disturbed results"

    with nothing_left():
        kill_in_the_middle(study, disturbed)
        assert len(left_by_ray()) == 1

        for number, send in map(WAYS.get, ways):
            process = start_and_train(study, disturbed)
            send(process, number)
            output, _ = process.communicate(timeout=600)
            assert process.returncode == INTERRUPTED, output
            assert "Traceback" not in output
            if send is not signal_until_it_ends:
                assert "Resume with:" in output
                assert not list(disturbed.rglob(".*.tmp"))
                assert not left_by_ray()

        if len(ways) > 1:
            lost, terminal = start_and_train(study, disturbed, start_in_terminal)
            os.close(terminal)
            signal_group(lost, signal.SIGHUP)  # As its shell does.
            assert lost.wait(timeout=600) == INTERRUPTED

        with orchestrator.connect(disturbed) as database:
            done = set(
                database.execute(
                    "SELECT trial_id FROM trials WHERE status = 'completed'"
                ).fetchall()
            )
        paced.unlink()
        output = finish(start(study, disturbed))
        assert output.rstrip().endswith("report.html")
        assert f"{4 - len(done)} trained" in output

    assert not left_by_ray()
    assert_equal_results(disturbed, made_once(**LONGER))


def test_a_run_stopped_by_the_clock_ends_like_an_undisturbed_one_once_it_is_resumed(
    made_once, small_study, tmp_path, paced
):
    study, stopped = small_study(**LONGER), tmp_path / "stopped by the clock"
    with nothing_left():
        process = start(study, stopped, "--for", "30s")  # Paced, it takes minutes on any machine.
        output, _ = process.communicate(timeout=600)
        assert process.returncode == WORK_LEFT, output
        assert "the time is over; left: 4 trials to train" in output
        assert "failed" not in output
        again = f"run {study} --results '{stopped}' --for 30s"
        assert output.rstrip().endswith(f"resume with:\n  python -m orchestrator {again}")
        assert not list(stopped.rglob(".*.tmp"))

        paced.unlink()
        output = finish(start(study, stopped, "--for", "1d"))
        assert "4 of 4 trials completed, 4 trained" in output
        assert output.rstrip().endswith("report.html")
    assert_equal_results(stopped, made_once(**LONGER))


def test_a_wrong_study_gives_one_message_and_exit_code_2(tmp_path):
    study = tmp_path / "wrong.yaml"
    study.write_text(json.dumps({"study": "wrong", "data": "mnist1d", "model": "mpl"}))
    process = start(study, tmp_path / "results")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2
    assert "there is no model 'mpl'" in output
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()
