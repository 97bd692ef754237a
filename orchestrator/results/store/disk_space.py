"""Whether the disk takes what is to be written.

A full disk is a matter of the whole study: a trial or a measure that meets it has not failed, and
trying again would only fill what is left. So training stops while there is room for the rows of
what is there already, and whatever the system refuses nevertheless is told as what it is.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import StorageError
from orchestrator.results.store.store_path import Location, StorePath, is_refusal, refusal

RESERVE_BYTES = 32 * 1024 * 1024
"""Left free for rows, for Tune's own files and for the report, which are small."""

_REFUSALS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing there is not allowed",
    errno.EPERM: "writing there is not allowed",
    errno.EIO: "the disk reports errors",
    errno.ENODEV: "the disk is gone",
    errno.ENOTCONN: "the disk is gone",
    errno.ESTALE: "the disk is gone",
}


@contextmanager
def storing(path: Location) -> Iterator[None]:
    """Tell what the operating system refuses to store at ``path`` as a :class:`StorageError`.

    Raises:
        StorageError: In place of an ``OSError`` that is about the disk or the store, not about one
            file.
    """
    try:
        yield
    except OSError as error:
        if isinstance(path, StorePath) and is_refusal(error):  # Where others ask: Tune's state.
            raise refusal(path, error) from error
        if error.errno not in _REFUSALS:
            raise
        raise refused(error.filename or path, _REFUSALS[error.errno]) from error


def require_space(path: Location, size: int = 0) -> None:
    """Make sure that ``size`` bytes may be written at ``path``; an object store takes them all.

    Raises:
        StorageError: If less than the reserve would be left.
    """
    if isinstance(path, StorePath):
        return
    with storing(path):
        free = shutil.disk_usage(path).free
    if free < size + RESERVE_BYTES:
        needed = f"{size / 1e6:.1f} MB and " if size else ""
        raise refused(
            path,
            f"{free / 1e6:.1f} MB are left on the disk, but {needed}{RESERVE_BYTES / 1e6:.0f} MB "
            "to spare are needed",
        )


def refused(path: str | Location, reason: str) -> StorageError:
    """The error that says why nothing more is written at ``path``, and how to go on."""
    return StorageError(
        f"{path}: cannot be written: {reason}",
        "nothing that was finished is lost; mend that, then run the same command again: it goes on",
    )
