"""Whether a file system has locks that end with the process that holds them."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from tempfile import TemporaryFile

from orchestrator.errors import ResultsError

if sys.platform != "win32":
    import fcntl

_MISSING = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})


def require_file_locks(folder: Path) -> None:
    """Refuse a folder on a file system without ``flock``.

    A lock in the form of a file that merely exists would stay behind a killed process for ever.

    Args:
        folder: Where a lock is to be taken. Whatever else is wrong with it is left to the
            lock itself.

    Raises:
        ResultsError: If files there cannot be locked.
    """
    if sys.platform == "win32":  # It locks files in another way, everywhere.
        return
    try:
        with TemporaryFile(dir=folder) as probe:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _MISSING:
            raise ResultsError(
                f"{folder}: files on this file system cannot be locked ({error.strerror}), "
                "expected one with flock, which keeps two runs from writing into one folder",
                "put the results on a local disk, mount the file system with locks (Lustre: "
                "-o flock), or use an object store (s3://bucket/prefix)",
            ) from error
