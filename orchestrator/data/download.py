"""Downloads with checksum and progress bar; the cache never contains a partial file."""

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
        urls: Addresses of the file, tried in order until one succeeds.
        sha256: Checksum of the file as served.
    """

    urls: tuple[str, ...]
    sha256: str

    @property
    def file_name(self) -> str:
        """The last part of the first address."""
        return self.urls[0].rpartition("/")[2]


class ProgressBar:
    """A rich progress bar with the interface that pooch expects."""

    def __init__(self, progress: Progress, file_name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(file_name, total=None)

    @property
    def completed(self) -> float:
        """The number of bytes received."""
        return self._progress.tasks[self._task].completed

    @property
    def total(self) -> float | None:
        """The size of the file in bytes, or None if the server did not report it."""
        return self._progress.tasks[self._task].total

    @total.setter
    def total(self, total: int) -> None:
        self._progress.update(self._task, total=total or None)

    def update(self, amount: int) -> None:
        """Add ``amount`` received bytes."""
        self._progress.advance(self._task, amount)

    def reset(self) -> None:
        """Restart at zero."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """Do nothing; pooch calls this at the end."""


def fetch(downloads: tuple[Download, ...], folder: Path) -> list[str]:
    """Download every file into the folder; stop at the first file that fails.

    A file appears under its name only when it is complete and its checksum is correct.

    Args:
        downloads: The files.
        folder: Destination folder; created if necessary.

    Returns:
        The errors of all addresses of the first file that failed; empty if all files are present.
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
            # A server that compresses a .gz file in transit would break the checksum.
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
    """Return the innermost cause: requests wraps "connection refused" in three layers of text."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    text = " ".join(str(reason).split()) or type(error).__name__
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", text)
