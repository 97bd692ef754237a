"""Local copies of the small files of results in an object store.

DuckDB reads these copies, so each part is fetched once rather than per query, and queries need no
network access. Nothing is written here first, so a mirror may be deleted while no run is active.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

import platformdirs
from filelock import FileLock

from orchestrator.errors import StorageError
from orchestrator.results.store.atomic import temporary_name
from orchestrator.results.store.disk_space import storing
from orchestrator.results.store.store_path import Stat, StorePath

CONNECTIONS = 16  # Parallel requests: each waits for the network, and most are small.


class Mirror:
    """The copies of one results folder, shared by all the user's processes on this machine.

    Args:
        origin: The results in the store.

    Attributes:
        path: Folder of the copies in the user's cache, laid out as in ``origin``.
    """

    def __init__(self, origin: StorePath) -> None:
        self.origin = origin
        digest = hashlib.sha256(str(origin).encode()).hexdigest()[:16]
        self.path = Path(platformdirs.user_cache_dir("orchestrator")) / "results" / digest

    def pull(
        self, directories: Iterable[StorePath], pattern: str, *, recursive: bool = False
    ) -> dict[StorePath, Stat]:
        """Update the copies of some folders to the current state of the store.

        A copy has the size and time of its object, and counts as current while both match. That
        suffices because no object is rewritten within a second with other content of the same
        size.

        Args:
            directories: Folders below ``origin``.
            pattern: Pattern for the names of the files to copy.
            recursive: Whether to include subfolders.

        Returns:
            All objects in the folders, regardless of name.

        Raises:
            StorageError: If the store cannot be reached, or the copies cannot be written.
        """
        directories = list(directories)
        with storing(self.path), ThreadPoolExecutor(CONNECTIONS) as pool:
            self._make()
            # Later listings see more; an earlier one must not undo them.
            with FileLock(self.path / ".lock"):
                listed = pool.map(lambda folder: folder.objects(recursive=recursive), directories)
                found = {path: stat for each in listed for path, stat in each.items()}
                wanted = {
                    self.copy_of(path): (path, stat)
                    for path, stat in found.items()
                    if fnmatchcase(path.name, pattern)
                }
                for directory in directories:
                    self._remove_others(self.copy_of(directory), wanted.keys())
                changed = [
                    (path, stat, copy)
                    for copy, (path, stat) in wanted.items()
                    if _stat(copy) != stat
                ]
                for folder in {copy.parent for _, _, copy in changed}:
                    folder.mkdir(parents=True, exist_ok=True)
                for _ in pool.map(lambda one: _fetch(*one), changed):
                    pass
        return found

    def copy_of(self, path: StorePath) -> Path:
        """Return the path that the copy of a file or folder has after a pull."""
        return self.path / path.relative_to(self.origin)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot be written: {error.strerror}",
                "copies of tables in an object store are kept there; to use another folder, set "
                "XDG_CACHE_HOME",
            ) from error

    def _remove_others(self, directory: Path, wanted: Iterable[Path]) -> None:
        kept = set(wanted)
        for path in directory.rglob("*"):
            if path not in kept and not path.is_dir():
                path.unlink()


def _fetch(path: StorePath, stat: Stat, copy: Path) -> None:
    temporary = copy.with_name(temporary_name(copy.name))
    try:
        temporary.write_bytes(path.read_bytes())
    except FileNotFoundError:  # Deleted since the listing.
        return
    os.utime(temporary, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    temporary.replace(copy)


def _stat(copy: Path) -> Stat | None:
    try:
        found = copy.stat()
    except FileNotFoundError:
        return None
    return Stat(found.st_size, found.st_mtime_ns)
