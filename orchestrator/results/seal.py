"""A Parquet file's checksum of itself: found in it, whatever bit of it is flipped.

Parquet's own checksums cover the pages of values and not the footer, which says what they mean.
So the footer's metadata take up the SHA-256 of the whole file as it is with zeros in that place.
Any reader of Parquet reads such a file, and the checksum goes wherever the file goes.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

KEY = "orchestrator_sha256"
BLANK = b"0" * 64
# Between the key and its value a footer has one byte each for the value's type and its length.
_TO_DIGEST = len(KEY) + 2
_TAIL_BYTES = 1 << 16  # The footer's metadata come last, after what it says of each column.
_CHUNK_BYTES = 1 << 20


def write_sealed(table: pa.Table, path: Path, **options: Any) -> None:
    """Write a table as a Parquet file with its seal.

    Args:
        table: What to write.
        path: Where to; replaced if it is there, and not synced.
        options: As :class:`pyarrow.parquet.ParquetWriter` takes them, and ``row_group_size``.
    """
    row_group_size = options.pop("row_group_size", None)
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        writer.write_table(table, row_group_size)
        writer.add_key_value_metadata({KEY: BLANK})
    seal(path)


def seal(path: Path) -> None:
    """Fill in the checksum of a file whose metadata have ``BLANK`` under ``KEY``.

    Raises:
        ValueError: If they have not.
    """
    with path.open("r+b") as file:
        start = _digest_start(file)
        if start is None or _digest_at(file, start) != BLANK:
            raise ValueError(f"{path} has no place for its seal")
        digest = _digest(file, start)
        file.seek(start)
        file.write(digest)


def seal_fits(source: Path | bytes) -> bool | None:
    """Whether a file is as it was sealed; None if it has no seal, as those of earlier releases.

    Args:
        source: Where it lies on this machine, or its content.

    Raises:
        OSError: If the file is not there or can't be read.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        start = _digest_start(file)
        if start is None:
            return None
        return _digest_at(file, start) == _digest(file, start)


def _digest_start(file: BinaryIO) -> int | None:
    tail = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
    file.seek(tail)
    at = file.read().rfind(KEY.encode())
    return None if at < 0 else tail + at + _TO_DIGEST


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
