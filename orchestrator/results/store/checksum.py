"""A checksum embedded in each Parquet file; it detects any flipped bit.

Parquet's own checksums cover the pages of values, but not the footer that describes them. So the
footer's metadata contain the SHA-256 of the whole file, computed with zeros in place of the
checksum, and the place in the results for which the file was written. Any Parquet reader can read
such a file, and the checksum stays with the file when it is copied.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

KEY = "orchestrator_sha256"
PLACE = "orchestrator_place"
BLANK = b"0" * 64
# Between key and value, a footer has one byte each for the value's type and length.
_TO_DIGEST = len(KEY) + 2
_TAIL_BYTES = 1 << 16  # The footer's metadata come last, after the column descriptions.
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Seal:
    """The seal of a file, compared with its content.

    Attributes:
        fits: Whether the file is unchanged since it was sealed.
        place: Place for which the file was written; None in files of earlier releases.
    """

    fits: bool
    place: str | None


def write_sealed(table: pa.Table, path: Path, *, place: str, **options: Any) -> None:
    """Write a table as a sealed Parquet file.

    Args:
        table: Table to write.
        path: Destination; an existing file is replaced. The file is not synced.
        place: Place of the file in its results; see :attr:`Seal.place`.
        options: Options of :class:`pyarrow.parquet.ParquetWriter`, and ``row_group_size``.
    """
    row_group_size = options.pop("row_group_size", None)
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        writer.write_table(table, row_group_size)
        writer.add_key_value_metadata({PLACE: place, KEY: BLANK})
    seal(path)


def seal(path: Path) -> None:
    """Fill in the checksum of a file whose metadata have ``BLANK`` under ``KEY``.

    Raises:
        ValueError: If the metadata have no such entry.
    """
    with path.open("r+b") as file:
        tail = _Tail(file)
        if tail.digest_start is None or _digest_at(file, tail.digest_start) != BLANK:
            raise ValueError(f"{path} has no blank seal to fill in")
        digest = _digest(file, tail.digest_start)
        file.seek(tail.digest_start)
        file.write(digest)


def read_seal(source: Path | bytes) -> Seal | None:
    """Read a file's seal and compare it with the content; None for files without a seal.

    Earlier releases wrote files without a seal.

    Args:
        source: Local path of the file, or its content.

    Raises:
        OSError: If the file does not exist or cannot be read.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        tail = _Tail(file)
        if tail.digest_start is None:
            return None
        fits = _digest_at(file, tail.digest_start) == _digest(file, tail.digest_start)
        return Seal(fits, tail.place() if fits else None)


def seal_fits(source: Path | bytes) -> bool | None:
    """Whether a file is unchanged since it was sealed; None without a seal.

    See :func:`read_seal`.
    """
    found = read_seal(source)
    return None if found is None else found.fits


class _Tail:
    """The end of a file, which contains the seal."""

    def __init__(self, file: BinaryIO) -> None:
        start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
        file.seek(start)
        self._content = file.read()
        at = self._content.rfind(KEY.encode())
        self.digest_start = None if at < 0 else start + at + _TO_DIGEST

    def place(self) -> str | None:
        key = self._content.rfind(PLACE.encode())
        if key < 0:
            return None
        # The value's type, then its length: seven bits per byte, lowest first.
        at, shift, length = key + len(PLACE) + 1, 0, 0
        while True:
            byte = self._content[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return self._content[at : at + length].decode()


def _digest_at(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(len(BLANK))


def _digest(file: BinaryIO, start: int) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    left = start
    while chunk := file.read(min(left, _CHUNK_BYTES)):
        digest.update(chunk)
        left -= len(chunk)
    digest.update(BLANK)
    file.seek(start + len(BLANK))
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest().encode()
