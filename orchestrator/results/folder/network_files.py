"""The files with a trial's networks: snapshots, and the resume state of an unfinished trial.

This room knows only their bytes. It writes them whole or not at all, and sets aside resume states
that cannot be decoded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from orchestrator.results.folder.damage import set_aside
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.store.atomic import write_atomically
from orchestrator.results.store.store_path import Location

T = TypeVar("T")
logger = logging.getLogger(__name__)


def store_snapshot(folder: ResultsFolder, trial_id: str, step: int, content: bytes) -> Location:
    """Write a snapshot, which counts only once :func:`commit_snapshot` has written its record.

    Returns:
        The path of the file.

    Raises:
        OSError: If the file cannot be written; an existing one then stays as it was.
    """
    path = folder.snapshot(trial_id, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path


def write_resume_state(folder: ResultsFolder, trial_id: str, content: bytes) -> None:
    """Write a trial's resume state; the previous one is kept beside it.

    Raises:
        OSError: If the file cannot be written; the previous one can still be read then.
    """
    path = folder.resume_state(trial_id)
    path.parent.mkdir(exist_ok=True)  # A folder copied from a store lacks empty subfolders.
    write_atomically(path, content, _previous(path))


def read_resume_state(
    folder: ResultsFolder, trial_id: str, decode: Callable[[bytes], T]
) -> T | None:
    """Return a trial's newest intact resume state, or None without one.

    Damaged files are set aside, with a warning in the log.

    Args:
        folder: The study's results.
        trial_id: The trial.
        decode: Parses the content of a file; raises ``ValueError`` if it is damaged.
    """
    path = folder.resume_state(trial_id)
    for candidate in (path, _previous(path)):
        try:
            return decode(candidate.read_bytes())
        except FileNotFoundError:
            continue
        except ValueError as error:
            aside = set_aside(folder, candidate)
            logger.warning("%s: damaged (%s); set aside as %s", candidate, error, aside)
    return None


def _previous(path: Location) -> Location:
    return path.with_name(f"{path.stem}.previous{path.suffix}")
