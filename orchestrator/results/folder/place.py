"""Part names, and the place in the results for which a file was written."""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestrator.results.store.store_path import Location

_COMPACTED = re.compile(r"compact-(\d+)\.parquet")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")


class Place(NamedTuple):
    """The place of a Parquet file in the results.

    Attributes:
        results: Identity of the results folder; empty if an earlier release created it.
        table: Name of the table.
        name: Name of the file without ``.parquet``.
    """

    results: str
    table: str
    name: str

    def __str__(self) -> str:
        return "/".join(self)

    def unlike(self, written: str) -> str:
        """Describe how this place differs from the one in a file's seal; empty if equal."""
        results, table, name = written.split("/", 2)
        if (table, name) != (self.table, self.name):
            return f"it was written as {table}/{name}.parquet"
        if results and self.results and results != self.results:
            return "it belongs to other results"
        return ""


def is_part_name(name: str) -> bool:
    """Whether ``name``, without suffix, is valid for a part or a compacted file."""
    return _NAME.fullmatch(name) is not None


def compaction_number(path: Location) -> int:
    """Return the ``n`` of ``compact-<n>.parquet``; 0 for any other file."""
    match = _COMPACTED.fullmatch(path.name)
    return int(match[1]) if match else 0
