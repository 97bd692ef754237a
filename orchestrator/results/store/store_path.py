"""Paths in an object store: the part of :class:`pathlib.Path` that results need.

Built on ``pyarrow.fs``. A store has neither folders nor renames. A folder exists while an object
exists below it. An object appears whole when its writing ends. A rename is a copy followed by a
deletion. Reads see all earlier writes, as S3 and compatible stores, Google Cloud Storage and Azure
Blob Storage guarantee.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from pyarrow import fs

from orchestrator.errors import ResultsError, StorageError
from orchestrator.results.store.object_stores import (
    STORES,
    Failures,
    connect,
    error_code,
    is_not_found,
    reason,
)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


class Stat(NamedTuple):
    """Size and time of an object, named as in ``os.stat_result``.

    Attributes:
        st_size: Size in bytes.
        st_mtime_ns: Time of writing in nanoseconds, by the store's clock, exact to the second
            or better.
    """

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True)
class StorePath:
    """A path in an object store. Every method that contacts the store costs 1 or 2 requests.

    Raises:
        StorageError: From every method that contacts the store, if the store cannot be reached or
            refuses.

    Attributes:
        key: Bucket and key, ``bucket/prefix/name``.
        query: Options of the address, ``endpoint_override=…``.
        scheme: The store's name in :data:`STORES`.
    """

    key: str
    query: str = ""
    scheme: str = "s3"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}" + (f"?{self.query}" if self.query else "")

    @property
    def filesystem(self) -> Any:
        """The store as a ``pyarrow.fs`` file system; retries for half a minute."""
        with _told(self):
            return connect(self.scheme, self.parts[0], self.query)[1]

    @property
    def hasty_filesystem(self) -> Any:
        """The store as a file system for dispensable files; retries for a few seconds."""
        with _told(self):
            return connect(self.scheme, self.parts[0], self.query)[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket and each part of the key."""
        return tuple(self.key.split("/"))

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the last part, with the dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> StorePath:
        """The containing folder."""
        return self._at(self.key.rpartition("/")[0])

    def __truediv__(self, below: str | Path | PurePosixPath) -> StorePath:
        return self._at(f"{self.key}/{PurePosixPath(below)}")

    def with_name(self, name: str) -> StorePath:
        """Return the sibling called ``name``."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> StorePath:
        """Return the sibling with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, folder: StorePath) -> PurePosixPath:
        """Return this path relative to ``folder``."""
        return PurePosixPath(self.key).relative_to(folder.key)

    def exists(self) -> bool:
        """Whether this is an object, or a folder with objects below it."""
        return bool(self._info().type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether this is an object."""
        return bool(self._info().type == fs.FileType.File)

    def is_dir(self) -> bool:
        """Whether objects exist below this path."""
        return bool(self._info().type == fs.FileType.Directory)

    def stat(self) -> Stat:
        """Return the size and time of an object.

        Raises:
            FileNotFoundError: If the object does not exist.
        """
        info = self._info()
        if info.type != fs.FileType.File:
            raise FileNotFoundError(str(self))
        return Stat(info.size, info.mtime_ns)

    def objects(self, *, recursive: bool = False) -> dict[StorePath, Stat]:
        """Return the objects in this folder, or all below it; one request per thousand."""
        return {
            self._at(info.path): Stat(info.size, info.mtime_ns)
            for info in self._list(recursive=recursive)
            if info.type == fs.FileType.File
        }

    def iterdir(self) -> Iterator[StorePath]:
        """Iterate over the entries of this folder; a missing folder has none."""
        if STORES[self.scheme].lists_folders:
            return (self._at(info.path) for info in self._list(recursive=False))
        below = (path.relative_to(self).parts[0] for path in self.objects(recursive=True))
        return (self / name for name in dict.fromkeys(below))

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """Iterate over the entries of this folder whose names match ``pattern``."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def read_bytes(self) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: If the object does not exist.
        """
        if STORES[self.scheme].reads_streams:
            with _told(self), self.filesystem.open_input_stream(self.key) as stream:
                return bytes(stream.read())
        with _told(self), self.filesystem.open_input_file(self.key) as file:
            try:
                return bytes(file.read(file.size()))  # Without the size, one request per 256 kB.
            except OSError as error:
                # Reported for an object deleted since it was opened.
                if error_code(error) == "INTERNAL_FAILURE" and not self.exists():
                    raise FileNotFoundError(str(self)) from error
                raise

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content of an object as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: Any) -> None:
        """Write an object; on failure, it stays as before.

        Args:
            content: Bytes or any buffer, written in one call. Closing an abandoned stream would
                leave a truncated object that looks complete.
        """
        with _told(self):
            stream = self.filesystem.open_output_stream(self.key)
            stream.write(content)
            stream.close()

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete an object.

        Raises:
            FileNotFoundError: If the object does not exist, unless ``missing_ok``.
        """
        try:
            with _told(self):
                self.filesystem.delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def replace(self, target: StorePath) -> None:
        """Copy an object to ``target``, then delete the original; in between, both exist.

        Raises:
            FileNotFoundError: If the object does not exist.
        """
        with _told(self):
            self.filesystem.copy_file(self.key, target.key)
            self.filesystem.delete_file(self.key)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder exists as soon as an object exists below it."""

    def _at(self, key: str) -> StorePath:
        return replace(self, key=key)

    def _info(self) -> Any:
        with _told(self):
            return self.filesystem.get_file_info(self.key)

    def _list(self, *, recursive: bool) -> list[Any]:
        selector = fs.FileSelector(self.key, recursive=recursive, allow_not_found=True)
        with _told(self):
            found: list[Any] = self.filesystem.get_file_info(selector)
        return found


Location = Path | StorePath
"""Path of a results file or folder, on disk or in an object store."""


def locate(place: str | Path | StorePath) -> Location:
    """Return the path that ``place`` names; the path must be valid but need not exist.

    An address is ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``. Its
    options (``?endpoint_override=…``) are in the address or in variables of the environment, see
    :data:`STORES`. They become part of the path, so that every node of a cluster contacts the same
    store. On disk, symbolic links are resolved.

    Raises:
        ResultsError: If the path is not valid.
    """
    if isinstance(place, StorePath):
        return place
    address = _URL.match(str(place))
    if address is None:
        return _absolute(place)
    if isinstance(place, Path):
        raise ResultsError(f"{place}: an address converted to a Path", "pass it as a string")
    scheme = address[1]
    if scheme not in STORES:
        raise ResultsError(
            f"{place}: stores of the kind {scheme}:// are not supported",
            f"use a folder or {', '.join(store.example for store in STORES.values())} (for "
            "S3-compatible stores, add ?endpoint_override=https://…)",
        )
    store, url = STORES[scheme], urlsplit(place)
    where = f"{scheme}://{url.netloc}{url.path}"
    if "@" in url.netloc:
        raise ResultsError(
            f"{scheme}://…@{url.netloc.rpartition('@')[2]}{url.path}: "
            "credentials are not allowed in an address",
            f"set {store.credentials}",
        )
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    wrong = sorted(options.keys() - set(store.options))
    if wrong or not url.netloc or url.fragment:
        what = f"unknown option {wrong[0]!r}" if wrong else "not an address for results"
        raise ResultsError(
            f"{where}: {what}",
            f"use {store.example}, optionally with any of the options {', '.join(store.options)}",
        )
    for option, names in store.environment.items():
        value = next((os.environ[name] for name in names if os.environ.get(name)), None)
        if value:
            options.setdefault(option, value)
    for option in store.required:
        if not options.get(option):
            raise ResultsError(
                f"{where}: the {option} is missing",
                f"use {store.example} or set {store.environment[option][0]}",
            )
    query = urlencode(sorted(options.items()), safe=":/")
    return StorePath(f"{url.netloc}{url.path}".strip("/"), query, scheme)


def _absolute(path: str | Path) -> Path:
    try:
        resolved = Path(path).resolve()
        resolved.exists()
    except (OSError, RuntimeError, ValueError) as error:  # Too long, a link loop, a NUL.
        reason = getattr(error, "strerror", None) or error
        raise ResultsError(
            f"{path}: not a valid path for results: {reason}", "choose another results folder"
        ) from None
    return resolved


@contextmanager
def _told(path: StorePath) -> Iterator[None]:
    """Raise a :class:`StorageError` where the store refuses a request."""
    try:
        yield
    except Failures as error:
        if is_not_found(error):
            raise FileNotFoundError(str(path)) from error
        raise refusal(path, error) from error


def refusal(path: StorePath, error: Exception) -> StorageError:
    """Return a one-sentence error for a request that the store refused."""
    return StorageError(
        f"{path}: object store error: {reason(error)}",
        f"check the address, your credentials (set {STORES[path.scheme].credentials}) and the "
        "network, then run the same command again to resume; finished work is kept",
    )
