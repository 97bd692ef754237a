"""Getting files from the internet: checksum, progress, and never half a file in the cache."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS_WITHOUT_ANSWER = 10
_BYTES_PER_CHUNK = 1 << 16


@dataclass(frozen=True)
class Download:
    """One file of a data set on the internet.

    Attributes:
        urls: Where to get it; the next is tried when one fails.
        sha256: Checksum of the file as it is served.
    """

    urls: tuple[str, ...]
    sha256: str

    @property
    def file_name(self) -> str:
        """The last part of its address."""
        return self.urls[0].rpartition("/")[2]


class ProgressBar:
    """What pooch tells its progress to, shown by rich."""

    def __init__(self, progress: Progress, file_name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(file_name, total=None)

    @property
    def completed(self) -> float:
        """Bytes that have arrived."""
        return self._progress.tasks[self._task].completed

    @property
    def total(self) -> float | None:
        """Size of the file in bytes, when the server told it."""
        return self._progress.tasks[self._task].total

    @total.setter
    def total(self, total: int) -> None:
        self._progress.update(self._task, total=total or None)

    def update(self, amount: int) -> None:
        """So many bytes more have arrived."""
        self._progress.advance(self._task, amount)

    def reset(self) -> None:
        """Start again from nothing."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """Nothing more will come."""


def fetch(downloads: tuple[Download, ...], folder: Path) -> list[str]:
    """Put every file into the folder, unless one can't be had.

    A file appears under its name only when it is complete and its checksum is right.

    Args:
        downloads: The files.
        folder: Where they go; made if need be.

    Returns:
        Why each address of the first unobtainable file failed; empty if all are there.
    """
    import pooch
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    pooch.get_logger().setLevel(logging.WARNING)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        for wanted in downloads:
            failures = _fetch_one(wanted, folder, progress)
            if failures:
                return failures
    return []


def _fetch_one(wanted: Download, folder: Path, progress: Progress) -> list[str]:
    import pooch

    failures = []
    for url in wanted.urls:
        downloader = pooch.HTTPDownloader(
            progressbar=ProgressBar(progress, wanted.file_name),
            chunk_size=_BYTES_PER_CHUNK,
            timeout=_SECONDS_WITHOUT_ANSWER,
            # A server that "compresses" a .gz on its way would break the checksum.
            headers={"Accept-Encoding": "identity"},
        )
        try:
            pooch.retrieve(
                url, f"sha256:{wanted.sha256}", wanted.file_name, folder, downloader=downloader
            )
        except (OSError, ValueError) as error:  # no network, HTTP status; wrong checksum
            failures.append(f"{url}: {_brief(error)}")
        else:
            return []
    return failures


def _brief(error: Exception) -> str:
    """The innermost cause: requests wraps "connection refused" into three layers of text."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    text = " ".join(str(reason).split()) or type(error).__name__
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", text)
