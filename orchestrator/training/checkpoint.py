"""The two kinds of file a trial leaves: snapshots to measure, and its newest resume state.

Both are safetensors: nothing in them is ever executed when they are read. Both are written
under a hidden name in the same folder, flushed to disk and renamed, so a file that has its name
is whole (on an object store, whatever is there is whole). Damage after that is found by SHA-256: a
snapshot's is kept by whoever wrote it, a resume state carries its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from types import NoneType
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from orchestrator.errors import ResultsError, error_text
from orchestrator.training.events import ResumeState
from orchestrator.training.nested import put_together, take_apart
from orchestrator.training.stored_path import StoredPath

_logger = logging.getLogger(__name__)

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
_NETWORK, _OPTIMIZER = "network.", "optimizer."
_SHARED = "shared"


@dataclass(frozen=True)
class SnapshotFile:
    """A snapshot that was written.

    Attributes:
        bytes: Its size.
        sha256: Its hash, 64 hexadecimal digits.
    """

    bytes: int
    sha256: str


def write_snapshot(path: Path | str | StoredPath, state: dict[str, Tensor]) -> SnapshotFile:
    """Write a state dict, replacing what is there.

    Args:
        path: Its folder is made if need be.
        state: Tensors on any device. One that has several names is stored under the first, with
            the others in the file's metadata; apart from that they share no memory.

    Raises:
        OSError: If it cannot be written; nothing is left behind then.
    """
    first: dict[int, str] = {}
    owners = {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}
    shared = {name: owner for name, owner in owners.items() if name != owner}
    content = safetensors.torch.save(
        {name: tensor for name, tensor in state.items() if name not in shared},
        {_SHARED: json.dumps(shared)} if shared else None,
    )
    _write(_path(path), content)
    return SnapshotFile(len(content), hashlib.sha256(content).hexdigest())


def read_snapshot(path: Path | str | StoredPath, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a state dict, on the CPU; names that shared a tensor when it was written do again.

    Args:
        path: What :func:`write_snapshot` has written.
        sha256: The hash it must have.

    Raises:
        ResultsError: If it is not there, or not what was written.
    """
    try:
        content = _path(path).read_bytes()
    except FileNotFoundError as error:
        raise ResultsError(f"snapshot {path}: there is no such file") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ResultsError(
            f"snapshot {path}: damaged: got SHA-256 {found}, expected {sha256}",
            "delete it and run the study again",
        )
    try:
        state = safetensors.torch.load(content)
        return {**{n: state[owner] for n, owner in _shared_names(content).items()}, **state}
    # KeyError: a type that PyTorch has not.
    except (safetensors.SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise ResultsError(
            f"snapshot {path}: damaged, or no safetensors file: {error_text(error)}",
            "delete it and run the study again",
        ) from error


def _shared_names(content: bytes) -> dict[str, str]:
    """The names of a snapshot whose tensor is stored under another one, which they are given."""
    shared = json.loads(_metadata(content).get(_SHARED, "{}"))
    if not isinstance(shared, dict) or not all(isinstance(name, str) for name in shared.values()):
        raise ValueError(f"its {_SHARED} is laid out otherwise")
    return shared


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def write_resume_state(path: Path | str | StoredPath, state: ResumeState) -> None:
    """Write a resume state; the one before it is kept under another name.

    Args:
        path: ``<name>.safetensors``; the one before becomes ``<name>.previous.safetensors``.
        state: What to keep.

    Raises:
        UserError: If the optimizer keeps something that cannot be stored.
        OSError: If it cannot be written; the one before stays in place then.
    """
    path = _path(path)
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
    _write(path, unsigned.replace(_NO_HASH.encode(), digest.encode(), 1), _previous(path))


def read_resume_state(
    path: Path | str | StoredPath, damaged: Path | StoredPath | None = None
) -> ResumeState | None:
    """Read the newest resume state that is whole.

    Damaged ones are set aside under ``<name>.damaged``, with a warning in the log.

    Args:
        path: As for :func:`write_resume_state`.
        damaged: The folder to set them aside in; by default the one where they are.

    Returns:
        None if there is none.
    """
    path = _path(path)
    for candidate in (path, _previous(path)):
        try:
            return _parse(candidate.read_bytes())
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            aside: Any = (damaged or candidate.parent) / f"{candidate.name}.damaged"
            aside.parent.mkdir(exist_ok=True)
            _rename(candidate, aside)
            _logger.warning("resume state %s: damaged (%s); set aside as %s", path, error, aside)
    return None


def _parse(content: bytes) -> ResumeState:
    try:
        state = _read(content)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is laid out otherwise: {error!r}") from error
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
        raise ValueError("its SHA-256 is not the one it was written with")
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


def _path(path: Path | str | StoredPath) -> Path | StoredPath:
    return Path(path) if isinstance(path, str) else path


def _previous(path: Path | StoredPath) -> Path | StoredPath:
    name = PurePath(path.name)
    return path.parent / f"{name.stem}.previous{name.suffix}"


def _rename(path: Path | StoredPath, to: Any) -> None:
    if isinstance(path, Path):
        os.replace(path, to)
    else:
        path.rename(to)


def _write(path: Path | StoredPath, content: bytes, previous: Any = None) -> None:
    """Write a whole file or none; what was there goes to ``previous``, if that is given."""
    if not isinstance(path, Path):
        if previous is not None and path.exists():
            path.rename(previous)
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
