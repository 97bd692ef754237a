"""The two kinds of file that a trial writes: snapshots to measure, and its newest resume state.

Both are safetensors, so reading them never executes code. This file turns them into bytes and
back; a run stores the bytes in its results folder, where a file appears whole or not at all.
Later damage is detected by SHA-256: the caller keeps the hash of a snapshot, and a resume state
contains its own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, Protocol

import safetensors
import safetensors.torch
from torch import Tensor

from orchestrator.errors import ResultsError, error_text
from orchestrator.training.events import ResumeState
from orchestrator.training.nested import put_together, take_apart

_NO_HASH = "0" * 64
_TYPES: dict[str, tuple[type, ...]] = {
    "trial_id": (str,),
    "epoch": (int,),
    "step": (int,),
    "train_seconds": (int, float),
    "evaluation_seconds": (int, float),
    "lowest_train_loss": (int, float),
    "stop_reason": (str, NoneType),
    "network": (dict,),
    "optimizer": (dict,),
}
_NOT_A_STATE = (
    *(safetensors.SafetensorError, LookupError, TypeError),
    *(AttributeError, RecursionError),
)
_NETWORK, _OPTIMIZER = "network.", "optimizer."
_SHARED = "shared"


class Readable(Protocol):
    """A path on disk or in an object store."""

    def read_bytes(self) -> bytes:
        """Return the content; raise ``FileNotFoundError`` if the path does not exist."""


@dataclass(frozen=True)
class SnapshotFile:
    """A written snapshot.

    Attributes:
        bytes: Size of the file.
        sha256: Hash of the file, 64 hexadecimal digits.
    """

    bytes: int
    sha256: str


def encode_snapshot(state: dict[str, Tensor]) -> bytes:
    """Return the content of a snapshot's file; equal states give equal bytes.

    Args:
        state: Tensors on any device. A tensor with several names is stored under the first, with
            the others in the file's metadata. Otherwise, tensors must not share memory.
    """
    first: dict[int, str] = {}
    owners = {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}
    shared = {name: owner for name, owner in owners.items() if name != owner}
    return safetensors.torch.save(
        {name: tensor for name, tensor in state.items() if name not in shared},
        {_SHARED: json.dumps(shared)} if shared else None,
    )


def write_snapshot(path: Path | str, state: dict[str, Tensor]) -> SnapshotFile:
    """Write a state dict, for example from a notebook, replacing an existing file.

    A process that is killed meanwhile leaves a truncated file, which :func:`read_snapshot`
    refuses. Runs write into their results folder instead, whole or not at all.

    Args:
        path: Path of the file; its folder is created if needed.
        state: As for :func:`encode_snapshot`.

    Raises:
        OSError: If the file cannot be written.
    """
    path, content = Path(path), encode_snapshot(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return SnapshotFile(len(content), hashlib.sha256(content).hexdigest())


def read_snapshot(path: str | Readable, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a state dict onto the CPU; names that shared a tensor when written share it again.

    Args:
        path: A file with the content of :func:`encode_snapshot`.
        sha256: Expected hash of the file.

    Raises:
        ResultsError: If the file is missing or differs from what was written.
    """
    try:
        content = (Path(path) if isinstance(path, str) else path).read_bytes()
    except FileNotFoundError as error:
        raise ResultsError(f"snapshot {path}: no such file") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ResultsError(
            f"snapshot {path}: damaged: got SHA-256 {found}, expected {sha256}",
            "delete it and run the study again",
        )
    try:
        state = safetensors.torch.load(content)
        return {**{n: state[owner] for n, owner in _shared_names(content).items()}, **state}
    # KeyError: a dtype that PyTorch does not have.
    except (safetensors.SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise ResultsError(
            f"snapshot {path}: damaged, or not a safetensors file: {error_text(error)}",
            "delete it and run the study again",
        ) from error


def _shared_names(content: bytes) -> dict[str, str]:
    """Return the names whose tensor is stored under another name, mapped to that name."""
    shared = json.loads(_metadata(content).get(_SHARED, "{}"))
    if not isinstance(shared, dict) or not all(isinstance(name, str) for name in shared.values()):
        raise ValueError(f"its {_SHARED!r} metadata has an unexpected layout")
    return shared


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def encode_resume_state(state: ResumeState) -> bytes:
    """Return the content of a resume state's file, which includes its own hash.

    Raises:
        UserError: If the optimizer's state contains something that cannot be stored.
    """
    optimizer, tensors = take_apart(state.optimizer, "the optimizer's state")
    plain = {
        entry.name: getattr(state, entry.name)
        for entry in fields(state)
        if entry.name not in ("network", "optimizer")
    }
    named = {_NETWORK + name: value for name, value in state.network.items()}
    named |= {f"{_OPTIMIZER}{index}": value for index, value in enumerate(tensors)}
    metadata = {"state": json.dumps({**plain, "optimizer": optimizer}), "sha256": _NO_HASH}
    unsigned = safetensors.torch.save(named, metadata)
    digest = hashlib.sha256(unsigned).hexdigest()
    return unsigned.replace(_NO_HASH.encode(), digest.encode(), 1)


def decode_resume_state(content: bytes) -> ResumeState:
    """Return the resume state in a file's content.

    Raises:
        ValueError: If the content is damaged or not a resume state.
    """
    try:
        state = _read(content)
    except _NOT_A_STATE as error:
        raise ValueError(f"it has an unexpected layout: {error!r}") from error
    for entry in fields(state):
        value = getattr(state, entry.name)
        if not isinstance(value, _TYPES[entry.name]) or isinstance(value, bool):
            raise ValueError(f"its {entry.name} is a {type(value).__name__}")
    return state


def _read(content: bytes) -> ResumeState:
    metadata = _metadata(content)
    digest = metadata["sha256"]
    if len(digest) != len(_NO_HASH):
        raise ValueError("it has no SHA-256")
    unsigned = content.replace(digest.encode(), _NO_HASH.encode(), 1)
    if hashlib.sha256(unsigned).hexdigest() != digest:
        raise ValueError("its content does not match its SHA-256")
    named = safetensors.torch.load(content)
    plain: dict[str, Any] = json.loads(metadata["state"])
    network = {
        name.removeprefix(_NETWORK): value
        for name, value in named.items()
        if name.startswith(_NETWORK)
    }
    count = len(named) - len(network)
    tensors = [named[f"{_OPTIMIZER}{index}"] for index in range(count)]
    optimizer = put_together(plain.pop("optimizer"), tensors)
    return ResumeState(**plain, network=network, optimizer=optimizer)
