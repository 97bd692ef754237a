"""Paths on an object store: what results need of :class:`pathlib.Path`, over ``pyarrow.fs``.

A store has no folders and no renames. A folder is there while something lies below it, an object
appears whole when its writing ends, and to rename is to copy and then to delete. Whoever reads
sees what was written before, as S3 and its kin promise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from pyarrow import fs

from orchestrator.errors import ResultsError, StorageError

CONNECT_SECONDS = 5.0
HASTY_ATTEMPTS = 3  # Some seconds,
PATIENT_ATTEMPTS = 7  # and about half a minute: the waits between them double.
_OPTIONS = ("endpoint_override", "region", "scheme")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # pyarrow itself reads neither.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_CODE = re.compile(r"AWS Error ([A-Z_]+)")
_REASONS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "ACCESS_DENIED": "access is denied",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "INVALID_CLIENT_TOKEN_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "EXPIRED_TOKEN": "the credentials have expired",
}


class Stat(NamedTuple):
    """What a store tells of an object; named as in ``os.stat_result``.

    Attributes:
        st_size: Bytes.
        st_mtime_ns: When it was written, by the store's clock, to the second.
    """

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True)
class StorePath:
    """A path on an S3 object store. Every method costs a request or two.

    Raises:
        StorageError: From every method that asks the store, if that cannot be reached or refuses.

    Attributes:
        key: Bucket and key, ``bucket/prefix/name``.
        query: The options of the address, ``endpoint_override=…``.
    """

    key: str
    query: str = ""

    def __str__(self) -> str:
        return f"s3://{self.key}" + (f"?{self.query}" if self.query else "")

    @property
    def filesystem(self) -> Any:
        """The store, as ``pyarrow.fs`` knows it; asks again for half a minute."""
        with _told(self):
            return _connect(self.parts[0], self.query)[1]

    @property
    def hasty_filesystem(self) -> Any:
        """The same, for what is not missed; asks again for some seconds."""
        with _told(self):
            return _connect(self.parts[0], self.query)[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket, and each part of the key."""
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
        """Of the last part, with the dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> StorePath:
        """What this lies in."""
        return self._at(self.key.rpartition("/")[0])

    def __truediv__(self, below: str | Path | PurePosixPath) -> StorePath:
        return self._at(f"{self.key}/{PurePosixPath(below)}")

    def with_name(self, name: str) -> StorePath:
        """A sibling."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> StorePath:
        """The sibling with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, folder: StorePath) -> PurePosixPath:
        """Where this lies below ``folder``."""
        return PurePosixPath(self.key).relative_to(folder.key)

    def exists(self) -> bool:
        """Whether this is an object, or something lies below it."""
        return bool(self._info().type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether this is an object."""
        return bool(self._info().type == fs.FileType.File)

    def is_dir(self) -> bool:
        """Whether something lies below this."""
        return bool(self._info().type == fs.FileType.Directory)

    def stat(self) -> Stat:
        """Size and time of an object.

        Raises:
            FileNotFoundError: If it is not there.
        """
        info = self._info()
        if info.type != fs.FileType.File:
            raise FileNotFoundError(str(self))
        return Stat(info.size, info.mtime_ns)

    def objects(self, *, recursive: bool = False) -> dict[StorePath, Stat]:
        """The objects in this folder, or everywhere below it; a request for each thousand."""
        return {
            self._at(info.path): Stat(info.size, info.mtime_ns)
            for info in self._list(recursive=recursive)
            if info.type == fs.FileType.File
        }

    def iterdir(self) -> Iterator[StorePath]:
        """What lies in this folder; nothing if it is not there."""
        return (self._at(info.path) for info in self._list(recursive=False))

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """What lies in this folder under a name like ``pattern``."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def read_bytes(self) -> bytes:
        """The content of an object.

        Raises:
            FileNotFoundError: If it is not there.
        """
        with _told(self), self.filesystem.open_input_file(self.key) as file:
            try:
                return bytes(file.read(file.size()))  # Without the size, a request each 256 kB.
            except OSError as error:
                # So is told what was deleted since it was opened.
                if _code(error) == "INTERNAL_FAILURE" and not self.exists():
                    raise FileNotFoundError(str(self)) from error
                raise

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content of an object, as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: Any) -> None:
        """Write an object: it is there whole, or as before.

        Args:
            content: Bytes or any buffer. It is handed over at once: a stream that is given up
                half-way would leave half an object, for it ends as if that were all.
        """
        with _told(self):
            stream = self.filesystem.open_output_stream(self.key)
            stream.write(content)
            stream.close()

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete an object.

        Raises:
            FileNotFoundError: If it is not there, unless ``missing_ok``.
        """
        try:
            with _told(self):
                self.filesystem.delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rename(self, target: StorePath) -> None:
        """Copy an object to ``target``, then delete it; in between it is in both places.

        Raises:
            FileNotFoundError: If it is not there.
        """
        with _told(self):
            self.filesystem.move(self.key, target.key)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is there as soon as something lies in it."""

    def _at(self, key: str) -> StorePath:
        return StorePath(key, self.query)

    def _info(self) -> Any:
        with _told(self):
            return self.filesystem.get_file_info(self.key)

    def _list(self, *, recursive: bool) -> list[Any]:
        selector = fs.FileSelector(self.key, recursive=recursive, allow_not_found=True)
        with _told(self):
            found: list[Any] = self.filesystem.get_file_info(selector)
        return found


Location = Path | StorePath
"""Where files of results lie: on a disk, or on an object store."""


def locate(place: str | Path | StorePath) -> Location:
    """The path that ``place`` means, which need not exist, but could.

    Of an address ``s3://bucket/prefix`` the endpoint may stand in it (``?endpoint_override=…``) or
    in ``$AWS_ENDPOINT_URL_S3`` or ``$AWS_ENDPOINT_URL``; it becomes part of the path, so that every
    node of a cluster asks the same store. On a disk, symbolic links are resolved.

    Raises:
        ResultsError: If there cannot be such a path.
    """
    if isinstance(place, StorePath):
        return place
    scheme = _URL.match(str(place))
    if scheme is None:
        return _absolute(place)
    if isinstance(place, Path):
        raise ResultsError(f"{place}: an address made a path", "give it as text")
    if scheme[1] != "s3":
        raise ResultsError(
            f"{place}: results can't lie on a store of the kind {scheme[1]}://",
            "name a folder, or s3://bucket/prefix (also of what speaks S3, with "
            "?endpoint_override=https://…)",
        )
    url = urlsplit(place)
    if "@" in url.netloc:
        raise ResultsError(
            f"s3://…@{url.netloc.rpartition('@')[2]}{url.path}: credentials in an address",
            "give them by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials",
        )
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    wrong = sorted(options.keys() - set(_OPTIONS))
    if wrong or not url.netloc or url.fragment:
        what = f"unknown option {wrong[0]!r}" if wrong else "not an address of results"
        raise ResultsError(
            f"s3://{url.netloc}{url.path}: {what}",
            f"expected s3://bucket/prefix, with ? and any of {', '.join(_OPTIONS)}",
        )
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    if endpoint:
        options.setdefault("endpoint_override", endpoint)
    key = f"{url.netloc}{url.path}".strip("/")
    return StorePath(key, urlencode(sorted(options.items()), safe=":/"))


def _absolute(path: str | Path) -> Path:
    try:
        resolved = Path(path).resolve()
        resolved.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a NUL
        reason = getattr(error, "strerror", None) or error
        raise ResultsError(
            f"{path}: can't be the path of results: {reason}", "name a results folder"
        ) from None
    return resolved


@lru_cache(maxsize=16)
def _connect(bucket: str, query: str) -> tuple[Any, Any]:
    """A hasty file system and a patient one."""
    options = dict(parse_qsl(query))
    scheme, separator, host = options.get("endpoint_override", "").rpartition("://")
    region = options.get("region")
    if region is None and not host:
        region = fs.resolve_s3_region(bucket)
    # Whether there is such a store is told soon; what was reached once is tried again for longer.
    hasty, patient = (
        fs.S3FileSystem(
            endpoint_override=host or None,
            scheme=scheme if separator else options.get("scheme", "https"),
            region=region,
            connect_timeout=CONNECT_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
            allow_delayed_open=True,  # One request for what is small, instead of three.
        )
        for attempts in (HASTY_ATTEMPTS, PATIENT_ATTEMPTS)
    )
    if hasty.get_file_info(bucket).type == fs.FileType.NotFound:
        raise OSError("AWS Error NO_SUCH_BUCKET")
    return hasty, patient


@contextmanager
def _told(path: StorePath) -> Iterator[None]:
    """Tell what a store refuses as a :class:`StorageError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        if _code(error) == "NO_SUCH_KEY":
            raise FileNotFoundError(str(path)) from error
        raise refusal(path, error) from error


def is_refusal(error: OSError) -> bool:
    """Whether an error of ``pyarrow.fs`` is what a store said."""
    return bool(_code(error))


def refusal(path: StorePath, error: OSError) -> StorageError:
    """What a store refused, in one sentence."""
    text, code = str(error), _code(error)
    reason = _REASONS.get(code) or re.sub(r"\s*\(Request ID: \w+\)", "", text.splitlines()[0])
    if code == "NETWORK_CONNECTION":
        reason = f"it cannot be reached: {text.rpartition('Details: ')[2]}"
    return StorageError(
        f"{path}: the object store: {reason}",
        "see to its address, your credentials and the network; nothing that was finished is "
        "lost: the same command goes on",
    )


def _code(error: OSError) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""
