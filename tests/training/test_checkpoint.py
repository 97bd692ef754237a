import os
from dataclasses import replace

import pytest
import torch

from orchestrator.errors import ResultsError, UserError
from orchestrator.training import (
    ResumeState,
    decode_resume_state,
    encode_resume_state,
    encode_snapshot,
    read_snapshot,
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


def test_snapshots_round_trip(path):
    written = write_snapshot(path, STATE)
    assert written.bytes == path.stat().st_size
    assert_same_tensors(read_snapshot(path, written.sha256), STATE)
    assert_same_tensors(read_snapshot(path), STATE)
    assert os.listdir(path.parent) == [path.name]


def test_equal_snapshots_are_equal_files(path, tmp_path):
    shuffled = dict(reversed(copy_nested(STATE).items()))
    assert write_snapshot(path, STATE) == write_snapshot(tmp_path / "other", shuffled)


def test_missing_snapshot(path):
    with pytest.raises(ResultsError, match=r"7\.safetensors: no such file"):
        read_snapshot(path)


def test_flipped_bytes_are_found(path):
    written = write_snapshot(path, STATE)
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ResultsError, match="damaged: got SHA-256"):
            read_snapshot(path, written.sha256)


@pytest.mark.parametrize("length", [0, 3, 8, 50, 1000])
def test_truncated_snapshots_are_found_without_a_hash(path, length):
    write_snapshot(path, STATE)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ResultsError, match="damaged, or not a safetensors file"):
        read_snapshot(path)


def test_a_path_may_be_text(path):
    write_snapshot(str(path), STATE)
    assert_same_tensors(read_snapshot(str(path)), STATE)


def test_resume_states_round_trip():
    assert_same_state(decode_resume_state(encode_resume_state(RESUME)), RESUME)


def test_any_flipped_byte_is_found():
    content = encode_resume_state(RESUME)
    header = range(8 + int.from_bytes(content[:8], "little"))
    for place in [*header[::5], *range(len(header), len(content), 97)]:
        damaged = bytearray(content)
        damaged[place] ^= 4
        with pytest.raises(ValueError, match=r"."):
            decode_resume_state(bytes(damaged))


@pytest.mark.parametrize("length", [0, 5, 100, 2000])
def test_truncated_states_are_found(length):
    with pytest.raises(ValueError, match=r"."):
        decode_resume_state(encode_resume_state(RESUME)[:length])


def test_a_snapshot_is_no_resume_state():
    with pytest.raises(ValueError, match=r"."):
        decode_resume_state(encode_snapshot(STATE))


def test_optimizers_that_keep_something_else_are_named():
    with pytest.raises(UserError, match="the optimizer's state cannot be stored: got a complex"):
        encode_resume_state(replace(RESUME, optimizer={"phase": 1j}))
