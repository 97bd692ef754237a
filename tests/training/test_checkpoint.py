import errno
import logging
import os
import resource
from dataclasses import replace

import pytest
import torch

from orchestrator.errors import ResultsError, UserError
from orchestrator.training import (
    ResumeState,
    read_resume_state,
    read_snapshot,
    write_resume_state,
    write_snapshot,
)
from orchestrator.training.nested import copy_nested
from tests.training.cases import assert_same_tensors

STATE = {
    "weight": torch.arange(600.0).view(20, 30),
    "count": torch.tensor(3),
    "empty": torch.zeros(0, 4),
}
RESUME = ResumeState(
    trial_id="0123456789ab",
    epoch=3,
    step=12,
    train_seconds=0.1 + 0.2,
    evaluation_seconds=1e-9,
    lowest_train_loss=float("inf"),
    stop_reason=None,
    network=STATE,
    optimizer={
        "state": {0: {"step": torch.tensor(4.0), "buffer": torch.ones(3)}, 1: {"buffer": None}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1], "maximize": False}],
    },
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "7.safetensors"


def assert_same_state(one, other):
    assert_same_tensors(one.network, other.network)
    assert one.optimizer["param_groups"] == other.optimizer["param_groups"]
    assert one.optimizer["state"].keys() == other.optimizer["state"].keys()
    assert_same_tensors(one.optimizer["state"][0], other.optimizer["state"][0])
    bare = {"network": {}, "optimizer": {}}
    assert replace(one, **bare) == replace(other, **bare)


class full_disk:
    """Lets no file grow beyond ``size`` bytes; the operating system itself refuses."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def test_snapshots_round_trip(path):
    written = write_snapshot(path, STATE)
    assert written.bytes == path.stat().st_size
    assert_same_tensors(read_snapshot(path, written.sha256), STATE)
    assert_same_tensors(read_snapshot(path), STATE)
    assert os.listdir(path.parent) == [path.name]


def test_equal_snapshots_are_written_as_equal_files(path, tmp_path):
    shuffled = dict(reversed(copy_nested(STATE).items()))
    assert write_snapshot(path, STATE) == write_snapshot(tmp_path / "other", shuffled)


def test_a_missing_snapshot_is_reported(path):
    with pytest.raises(ResultsError, match=r"7\.safetensors: no such file"):
        read_snapshot(path)


def test_flipped_bytes_in_a_snapshot_are_detected(path):
    written = write_snapshot(path, STATE)
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ResultsError, match="damaged: got SHA-256"):
            read_snapshot(path, written.sha256)


@pytest.mark.parametrize("length", [0, 3, 8, 50, 1000])
def test_truncated_snapshots_are_detected_without_a_hash(path, length):
    write_snapshot(path, STATE)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ResultsError, match="damaged, or not a safetensors file"):
        read_snapshot(path)


def test_a_full_disk_leaves_no_partial_snapshot(path):
    path.parent.mkdir()
    with full_disk(1000), pytest.raises(OSError, match="too large") as caught:
        write_snapshot(path, STATE)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(path.parent) == []


def test_a_full_disk_leaves_the_previous_snapshot_intact(path):
    written = write_snapshot(path, STATE)
    with full_disk(1000), pytest.raises(OSError, match="too large"):
        write_snapshot(path, {"other": torch.zeros(1000)})
    assert_same_tensors(read_snapshot(path, written.sha256), STATE)


def test_another_processs_temporary_file_is_left_alone(path):
    """One that was cut off lives on for a while; a run clears away what such leave behind."""
    path.parent.mkdir()
    others = path.parent / f".{path.name}.abc.tmp"
    others.write_bytes(b"half")
    write_snapshot(path, STATE)
    assert sorted(os.listdir(path.parent)) == [others.name, path.name]


def test_resume_states_round_trip(path):
    assert read_resume_state(path) is None
    write_resume_state(path, RESUME)
    assert_same_state(read_resume_state(path), RESUME)


def test_the_newest_state_is_read_and_the_previous_one_kept(path):
    for epoch in (3, 4, 5):
        write_resume_state(path, replace(RESUME, epoch=epoch))
    assert read_resume_state(path).epoch == 5
    assert sorted(os.listdir(path.parent)) == ["7.previous.safetensors", "7.safetensors"]
    path.unlink()
    assert read_resume_state(path).epoch == 4


def test_a_damaged_state_is_moved_aside_for_the_previous_one(path, caplog):
    write_resume_state(path, replace(RESUME, epoch=4))
    write_resume_state(path, replace(RESUME, epoch=5))
    damaged = path.read_bytes()[:-1] + b"\x7f"
    path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        assert read_resume_state(path).epoch == 4
    assert "damaged" in caplog.text
    assert (path.parent / "7.safetensors.damaged").read_bytes() == damaged
    assert read_resume_state(path).epoch == 4
    write_resume_state(path, replace(RESUME, epoch=6))
    assert read_resume_state(path).epoch == 6


def test_flipped_bytes_in_a_resume_state_are_detected(path):
    write_resume_state(path, RESUME)
    content = path.read_bytes()
    header = range(8 + int.from_bytes(content[:8], "little"))
    for place in [*header[::5], *range(len(header), len(content), 97)]:
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        assert read_resume_state(path) is None, place


@pytest.mark.parametrize("length", [0, 5, 100, 2000])
def test_truncated_resume_states_are_detected(path, length):
    write_resume_state(path, RESUME)
    path.write_bytes(path.read_bytes()[:length])
    assert read_resume_state(path) is None


def test_a_snapshot_is_not_accepted_as_a_resume_state(path):
    write_snapshot(path, STATE)
    assert read_resume_state(path) is None


def test_a_full_disk_leaves_the_previous_state_intact(path):
    write_resume_state(path, RESUME)
    with full_disk(1000), pytest.raises(OSError, match="too large"):
        write_resume_state(path, replace(RESUME, epoch=4))
    assert_same_state(read_resume_state(path), RESUME)
    assert os.listdir(path.parent) == [path.name]


def test_optimizer_states_that_cannot_be_stored_are_refused(path):
    with pytest.raises(UserError, match="the optimizer's state cannot be stored: got a complex"):
        write_resume_state(path, replace(RESUME, optimizer={"phase": 1j}))
    assert not path.exists()
