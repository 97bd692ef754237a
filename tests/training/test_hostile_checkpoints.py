"""Snapshots and resume states that nobody wrote in good faith: refused, and nothing is run."""

import hashlib
import json
import os
import pickle
import struct
from io import BytesIO

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ResultsError
from orchestrator.training import (
    ResumeState,
    decode_resume_state,
    encode_resume_state,
    encode_snapshot,
    read_snapshot,
)

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}
RESUME = ResumeState(
    "trial",
    epoch=3,
    step=12,
    network=STATE,
    optimizer={"state": {0: {"momentum": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
)


class Intruder:
    """Pickles as the order to make a file."""

    def __reduce__(self):
        return os.mkdir, ("intruder",)


def torch_file(content):
    stream = BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def header(content, data=b"", length=None):
    """A safetensors file of this header."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4), data=bytes(4)):
    return header({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, data)


HOSTILE = {
    "empty": b"",
    "short": b"\0" * 7,
    "no header": b"\0" * 8,
    "header of all bytes there could be": b"\xff" * 8,
    "header of a terabyte": header({}, length=1 << 40),
    "header longer than the file": header({}, length=100),
    "header of 99 MB, not there": header(b"{}", length=99_000_000),
    "deep header": header(b"[" * 100_000),
    "list": header([]),
    "null": header(b"null"),
    "no text": header(b"\xff\xfe"),
    "twice the same": header(b'{"w":1,"w":2}'),
    "tensor of terabytes": entry(shape=[1 << 40]),
    "overflowing shape": entry(shape=[1 << 33, 1 << 33]),
    "negative shape": entry(shape=[-1]),
    "data that is not there": entry(offsets=[0, 1 << 60]),
    "data backwards": entry(offsets=[4, 0]),
    "overlap": header(
        {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)
    ),
    **{
        f"names that share {kind}": header(
            {
                "__metadata__": {"shared": text},
                "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            },
            bytes(4),
        )
        for kind, text in {
            "nothing": '{"v": "u"}',
            "a number": '{"v": 1}',
            "a list": '{"v": ["w"]}',
            "no mapping": "[1]",
            "no JSON": "{",
            "depths": "[" * 100_000,
        }.items()
    },
    "unknown type": entry(dtype="OBJECT"),
    "type that PyTorch has not": entry(dtype="F4", shape=[8]),
    "trailing data": entry(data=bytes(8)),
    "pickle": pickle.dumps(Intruder()),
    "pickled tensors": torch_file({"weight": torch.ones(2)}),
    "pickled intruder": torch_file({"weight": Intruder()}),
    "pickle after a header": header({}) + pickle.dumps(Intruder()),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty working directory; what is loaded makes nothing in it."""
    path = tmp_path_factory.mktemp("hostile")
    before = os.getcwd()
    os.chdir(path)
    yield path
    os.chdir(before)
    assert not (path / "intruder").exists()


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_snapshot(folder, kind):
    path = folder / "1.safetensors"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(ResultsError, match=r"1\.safetensors: damaged, or not a safetensors file"):
        read_snapshot(path)
    with pytest.raises(ResultsError, match="got SHA-256"):
        read_snapshot(path, "0" * 64)
    assert path.read_bytes() == HOSTILE[kind]


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_resume_state(folder, kind):
    with pytest.raises(ValueError, match=r"."):
        decode_resume_state(HOSTILE[kind])


@pytest.fixture(scope="module")
def good():
    """The bytes of a snapshot and of a resume state."""
    return [encode_snapshot(STATE), encode_resume_state(RESUME)]


EDITS = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 9), st.binary(max_size=4)),
    min_size=1,
    max_size=4,
)


def edited(content, edits):
    changed = bytearray(content)
    for at, cut, new in edits:
        at %= len(changed) + 1
        changed[at : at + cut] = new
    return bytes(changed)


@given(EDITS)
def test_random_edits_of_a_snapshot(folder, good, edits):
    path = folder / "2.safetensors"
    path.write_bytes(edited(good[0], edits))
    try:
        state = read_snapshot(path)
    except ResultsError:
        return
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def decoded(content):
    """The resume state, or None where the content is refused."""
    try:
        return decode_resume_state(content)
    except ValueError:
        return None


@given(EDITS)
def test_random_edits_of_a_resume_state_are_found(folder, good, edits):
    content = edited(good[1], edits)
    if content != good[1]:
        assert decoded(content) is None


def signed(plain, tensors=STATE):
    """A resume state of any content, with the right hash."""
    none = "0" * 64
    unsigned = safetensors.torch.save(tensors, {"state": json.dumps(plain), "sha256": none})
    return unsigned.replace(none.encode(), hashlib.sha256(unsigned).hexdigest().encode(), 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dict", "list", "tuple", "tensor", "plain"]), inner)
    ),
    max_leaves=8,
)
NAMES = ("trial_id", "epoch", "step", "train_seconds", "stop_reason", "optimizer", "network", "x")


@given(st.dictionaries(st.sampled_from(NAMES), JSON) | JSON)
def test_signed_states_of_another_layout(folder, plain):
    found = decoded(signed(plain))
    assert found is None or (isinstance(found.epoch, int) and isinstance(found.trial_id, str))


@pytest.mark.parametrize("digest", ["", 5, None, "0" * 63, "é" * 64])
def test_states_without_a_hash(folder, digest):
    text = {"__metadata__": {"sha256": digest, "state": "{}"}}
    assert decoded(header(text)) is None
