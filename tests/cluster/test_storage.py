"""Disks that are full or read-only: the study stops with one sentence and goes on later."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator
from orchestrator.errors import StorageError
from orchestrator.results import study_status
from orchestrator.results.store.disk_space import RESERVE_BYTES
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import TWO_TRIALS
from tests.cluster.in_process import run_in_process

MEGABYTE = 2**20
# Networks of a megabyte, which fill a disk sooner than rows do.
WIDE = {**TWO_TRIALS, "model": {"name": "mlp", "width": 3500, "depth": 1}, "measures": ["margin"]}


class Disk:
    """A file system in memory that the test makes larger, smaller, or read-only."""

    def __init__(self, path):
        self.path, self.filler = path, path / "filler"
        path.mkdir()
        self.error = mount("-t", "tmpfs", "-o", f"size={128 * MEGABYTE}", "none", path)

    def leave(self, size):
        """Fill all but ``size`` bytes."""
        free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
        with self.filler.open("ab") as file:
            os.posix_fallocate(file.fileno(), self.filler.stat().st_size, free - size)

    def clear(self):
        self.filler.unlink()

    def remount(self, options):
        assert not mount("-o", f"remount,{options}", self.path)


def mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    return done.stderr if done.returncode else ""


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path / "disk")
    if disk.error:
        pytest.skip(f"a file system can't be mounted here: {disk.error}")
    yield disk
    subprocess.run(["umount", "--lazy", disk.path], check=True)


def unfinished(folder):
    return list(folder.rglob(".*.tmp"))


@pytest.mark.ray
@pytest.mark.slow
def test_a_full_disk_stops_training_in_time_and_a_larger_one_resumes_it(
    local_ray, disk, inject, small_study, tmp_path
):
    study, folder = small_study(**WIDE), disk.path / "zwei Netze, größer"
    disk.leave(RESERVE_BYTES - MEGABYTE)
    with pytest.raises(
        StorageError, match=r"MB are left on the disk, but a reserve of 34 MB is needed"
    ) as told:
        orchestrator.run(study, folder, quiet=True)
    assert "run the same command again" in told.value.hint
    assert study_status(folder).trials_running == 0

    # Room for some of the snapshots.
    disk.clear()
    disk.leave(RESERVE_BYTES + 4 * MEGABYTE)
    with pytest.raises(
        StorageError, match=r"MB are left on the disk, but 1\.\d MB plus a reserve of 34 MB"
    ):
        orchestrator.run(study, folder, quiet=True)
    assert 0 < study_status(folder).snapshots < 8
    assert not unfinished(folder)

    # Nothing is reserved, and the system itself refuses.
    unchecked = {"orchestrator.results.store.disk_space.RESERVE_BYTES": -2 * RESERVE_BYTES}
    inject({"constants": unchecked})
    disk.clear()
    disk.leave(MEGABYTE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(*unchecked.popitem())
        with pytest.raises(StorageError, match="no space is left on the disk"):
            orchestrator.run(study, folder, quiet=True)
    assert not unfinished(folder)

    inject()
    disk.clear()
    assert orchestrator.run(study, folder, quiet=True).complete
    undisturbed = tmp_path / "undisturbed"
    assert run_in_process(study, undisturbed).complete
    assert_equal_results(folder, undisturbed)


@pytest.mark.slow
def test_results_on_a_read_only_disk_can_be_read_but_not_changed(disk, small_study, tmp_path):
    study = small_study(**{**TWO_TRIALS, "seeds": 1, "measures": ["margin"]})
    folder = disk.path / "results"
    assert run_in_process(study, folder).complete
    disk.remount("ro")
    assert study_status(folder).running is None
    assert orchestrator.report(folder, tmp_path / "report.html").is_file()
    command = [sys.executable, "-m", "orchestrator", "run", study, "--results", folder]
    root = str(Path(orchestrator.__file__).parents[1])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True
    )
    assert done.returncode == StorageError.exit_code == 3
    assert "the file system is read-only" in done.stderr
    assert "Traceback" not in done.stderr
    disk.remount("rw")
    again = orchestrator.run(study, folder, quiet=True)
    assert again.complete
    assert again.trained == 0
    assert len(json.loads((folder / "provenance.json").read_text())["runs"]) == 2


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_runs_with_a_read_only_home(disk, small_study, tmp_path):
    disk.remount("ro")
    study = small_study(**{**TWO_TRIALS, "seeds": 1})
    command = [sys.executable, "-m", "orchestrator", "run", study, "--results", tmp_path / "r"]
    root = str(Path(orchestrator.__file__).parents[1])
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": root, "HOME": str(disk.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 1 trials completed" in done.stdout
    assert "Traceback" not in done.stderr
    assert not list(disk.path.iterdir())


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_runs_without_room_in_shared_memory(small_study, tmp_path):
    # In a mount namespace of its own, so that nobody else's shared memory goes.
    script = (
        "mount -t tmpfs -o size=8m none /dev/shm || exit 77; "
        'exec "$0" -m orchestrator run "$1" --results "$2" --quiet'
    )
    study = small_study(**{**TWO_TRIALS, "seeds": 1})
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, study, tmp_path / "results"],
        env={**os.environ, "PYTHONPATH": str(Path(orchestrator.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"a file system can't be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 trials completed" in done.stdout
