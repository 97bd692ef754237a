"""Checks for free disk space, and errors for failed writes.

A full disk affects the whole study: a trial or measure that runs into it has not failed, and
retrying would only use up the remaining space. So training stops while enough space is left for
the rows of existing work. Writes that the system refuses anyway are reported as storage errors.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import StorageError
from orchestrator.results.store.object_stores import is_refusal
from orchestrator.results.store.store_path import Location, StorePath, refusal

RESERVE_BYTES = 32 * 1024 * 1024
"""Kept free for rows, Tune's own files and the report, which are small."""

_REFUSALS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is exhausted",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports I/O errors",
    errno.ENODEV: "the disk is no longer available",
    errno.ENOTCONN: "the disk is no longer available",
    errno.ESTALE: "the disk is no longer available",
}


@contextmanager
def storing(path: Location) -> Iterator[None]:
    """Raise a :class:`StorageError` where the system refuses to store data at ``path``.

    Raises:
        StorageError: In place of an ``OSError`` that concerns the disk or the store rather than
            one file.
    """
    try:
        yield
    except OSError as error:
        if isinstance(path, StorePath) and is_refusal(error):  # Raised by Tune's own client.
            raise refusal(path, error) from error
        if error.errno not in _REFUSALS:
            raise
        raise refused(error.filename or path, _REFUSALS[error.errno]) from error


def require_space(path: Location, size: int = 0) -> None:
    """Check that ``size`` bytes fit on the disk of ``path``; an object store always passes.

    Raises:
        StorageError: If less than the reserve would be left.
    """
    if isinstance(path, StorePath):
        return
    with storing(path):
        free = shutil.disk_usage(path).free
    if free < size + RESERVE_BYTES:
        needed = f"{size / 1e6:.1f} MB plus " if size else ""
        raise refused(
            path,
            f"{free / 1e6:.1f} MB are left on the disk, but {needed}a reserve of "
            f"{RESERVE_BYTES / 1e6:.0f} MB is needed",
        )


def refused(path: str | Location, reason: str) -> StorageError:
    """Return an error that says why ``path`` cannot be written and how to resume."""
    return StorageError(
        f"{path}: cannot be written: {reason}",
        "finished work is kept; fix the cause, then run the same command again to resume",
    )
