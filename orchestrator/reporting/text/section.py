"""A section of the report that is one table and what it shows."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures import Table


@dataclass(frozen=True)
class Section:
    """A table of the report, outside its figures.

    Attributes:
        key: Its name in links and in exports.
        title: Its heading.
        explanation: What the table shows, in whole sentences.
        table: The table; None if nothing was measured for it.
        query: What it was made from.
        missing: Why there is no table, in one sentence, or "".
    """

    key: str
    title: str
    explanation: str
    table: Table | None
    query: Query
    missing: str = ""
