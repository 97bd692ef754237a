"""A check for file locks that the system releases when their process ends."""

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

    A lock that is merely an existing file would outlive a killed process.

    Args:
        folder: Folder to be locked. Any other problem with it is left to the lock itself.

    Raises:
        ResultsError: If files in the folder cannot be locked.
    """
    if sys.platform == "win32":  # Windows locks files differently, on every file system.
        return
    try:
        with TemporaryFile(dir=folder) as probe:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _MISSING:
            raise ResultsError(
                f"{folder}: files on this file system cannot be locked ({error.strerror}); "
                "flock is needed to keep two runs from writing to the same folder",
                "put the results on a local disk, mount the file system with locks (Lustre: "
                "-o flock), or use an object store (s3://bucket/prefix)",
            ) from error
