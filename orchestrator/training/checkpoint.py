"""The two kinds of file that a trial writes: snapshots to measure, and its newest resume state.

Both are safetensors, so reading them never executes code. Both are written under a hidden name in
the same folder, flushed to disk and renamed, so a file with its final name is complete (on an
object store, every object is complete). Later damage is detected by SHA-256: the caller keeps the
hash of a snapshot, and a resume state contains its own.
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
    """A written snapshot.

    Attributes:
        bytes: Size of the file.
        sha256: Hash of the file, 64 hexadecimal digits.
    """

    bytes: int
    sha256: str


def write_snapshot(path: Path | str | StoredPath, state: dict[str, Tensor]) -> SnapshotFile:
    """Write a state dict, replacing an existing file.

    Args:
        path: Path of the file; its folder is created if needed.
        state: Tensors on any device. A tensor with several names is stored under the first, with
            the others in the file's metadata. Otherwise, tensors must not share memory.

    Raises:
        OSError: If the file cannot be written; nothing is left behind then.
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
    """Read a state dict onto the CPU; names that shared a tensor when written share it again.

    Args:
        path: A file written by :func:`write_snapshot`.
        sha256: Expected hash of the file.

    Raises:
        ResultsError: If the file is missing or differs from what was written.
    """
    try:
        content = _path(path).read_bytes()
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


def write_resume_state(path: Path | str | StoredPath, state: ResumeState) -> None:
    """Write a resume state; the previous one is kept under another name.

    Args:
        path: ``<name>.safetensors``; the previous one becomes ``<name>.previous.safetensors``.
        state: State to write.

    Raises:
        UserError: If the optimizer's state contains something that cannot be stored.
        OSError: If the file cannot be written; the previous one then stays in place.
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
    """Read the newest intact resume state.

    Damaged files are set aside under ``<name>.damaged``, with a warning in the log.

    Args:
        path: As for :func:`write_resume_state`.
        damaged: Folder for damaged files; by default the folder they are in.

    Returns:
        The resume state; None if no intact one exists.
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
    """Write a complete file or none; if ``previous`` is given, move the existing file there."""
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
