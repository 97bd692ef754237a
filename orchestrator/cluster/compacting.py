"""Compaction of small table parts, during a run and at its end.

Every reader of a table opens each part several times, which costs a tenth of a megabyte and a
millisecond each time. A large study would otherwise leave hundreds of thousands of parts.
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
OBJECTS_AT_END = 100  # The first read of a store fetches objects one by one.
LOOK_SECONDS = 20.0
_TABLES = ("trials", "epochs", "checkpoints", "measures", "curves", "examples")


def compact_if_many(folder: ResultsFolder, most: int | None = None) -> None:
    """Compact all tables if they have more than ``most`` parts in total.

    Args:
        folder: Results folder, locked.
        most: Maximum number of parts; by default the maximum at the end of a run.
    """
    if most is None:
        most = PARTS_AT_END if folder.mirror is None else OBJECTS_AT_END
    parts = sum(1 for table in _TABLES for _ in folder.readable(table).glob("*.parquet"))
    if parts > most:
        compact(folder)


@contextmanager
def compacting(folder: ResultsFolder) -> Iterator[None]:
    """Compact the tables in a thread whenever they have many parts, until the block ends.

    The block must not read the tables; concurrent writes are harmless.
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
            folder.refresh()
            compact_if_many(folder, PARTS_MEANWHILE)
        # Not fatal: the next reader or writer will report it.
        except (OrchestratorError, OSError) as error:
            logger.warning("compaction stopped for the rest of this run: %s", error)
            return
