"""Writes files that appear in full or not at all, on disk or in an object store."""

from __future__ import annotations

import mmap
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.results.store.store_path import Location, StorePath

TEMPORARY_SUFFIX = ".tmp"
SETTLED_NANOSECONDS = 2_000_000_000
"""A file or folder read this soon after its last change may change again within the same clock
tick, which its modification time would not show."""


@contextmanager
def replacing(path: Location) -> Iterator[Path]:
    """Yield a hidden temporary path; on exit, rename the file written there to ``path``.

    The temporary file is in the same folder, outside every ``*.parquet`` glob. It is synced to
    disk before the rename, and the folder after it. On an exception, it is removed. For a path in
    an object store, the temporary file is on this machine and is uploaded in one piece.
    """
    if isinstance(path, StorePath):
        with tempfile.TemporaryDirectory() as folder:
            yield (temporary := Path(folder) / path.name)
            with (
                temporary.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                path.write_bytes(content)
        return
    temporary = path.with_name(temporary_name(path.name))
    try:
        yield temporary
        _sync(temporary, os.O_RDONLY)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_atomically(
    path: Location, content: str | bytes, previous: Location | None = None
) -> None:
    """Write ``content`` to ``path``, replacing any existing file.

    Args:
        path: Path of the file.
        content: Bytes, or text to be stored as UTF-8.
        previous: Where an existing file is moved once the new content is written; a crash leaves
            at least one of the two. By default it is lost.
    """
    content = content.encode() if isinstance(content, str) else content
    if isinstance(path, StorePath):
        _keep(path, previous)
        path.write_bytes(content)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        _keep(path, previous)


def _keep(path: Location, previous: Location | None) -> None:
    if previous is not None and path.exists():
        path.replace(previous)  # type: ignore[arg-type]  # Both on disk or both in a store.


def sync_directory(path: Location) -> None:
    """Make renames and removals in ``path`` survive a power failure."""
    if isinstance(path, Path) and os.name == "posix":
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def temporary_name(name: str) -> str:
    """Return a unique hidden name for a file that will become ``name``."""
    return f".{name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Whether ``name`` is that of an unfinished file."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
