"""Joins the small parts of tables, while a run goes on and at its end.

Whoever reads a table opens every part of it several times: a tenth of a megabyte and a millisecond
each. A large study would leave hundreds of thousands.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import OrchestratorError
from orchestrator.results import ResultsFolder, compact

logger = logging.getLogger(__name__)

PARTS_MEANWHILE = 2000
PARTS_AT_END = 2000
OBJECTS_AT_END = 100  # Whoever reads a store for the first time fetches them one by one.
LOOK_SECONDS = 20.0
_TABLES = ("trials", "epochs", "checkpoints", "measures", "curves", "examples")


def compact_if_many(folder: ResultsFolder, most: int | None = None) -> None:
    """Join the parts of all tables if together they have more than ``most``.

    Args:
        folder: The results, locked.
        most: By default, as many as may be left at the end of a run.
    """
    if most is None:
        most = PARTS_AT_END if folder.mirror is None else OBJECTS_AT_END
    parts = sum(1 for table in _TABLES for _ in folder.readable(table).glob("*.parquet"))
    if parts > most:
        compact(folder)


@contextmanager
def compacting(folder: ResultsFolder) -> Iterator[None]:
    """Join parts whenever there are many, in a thread, for as long as the block lasts.

    The block must not read the tables; that others write to them does no harm.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_compact, args=(folder, stop), name="compacting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _compact(folder: ResultsFolder, stop: threading.Event) -> None:
    while not stop.wait(LOOK_SECONDS):
        try:
            folder.look()
            compact_if_many(folder, PARTS_MEANWHILE)
        # Whoever needs the tables or the disk will tell.
        except (OrchestratorError, OSError) as error:
            logger.warning("parts are not joined any more during this run: %s", error)
            return
