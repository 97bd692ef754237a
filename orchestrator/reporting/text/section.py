"""A section of the report: one table and its explanation."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures import Table


@dataclass(frozen=True)
class Section:
    """A table of the report that belongs to no figure.

    Attributes:
        key: Name in links and in exports.
        title: Heading.
        explanation: Explanation of the table, in full sentences.
        table: The table; None if nothing has been measured for it.
        query: Query behind the table.
        missing: Reason why the table is missing, in one sentence, or "".
    """

    key: str
    title: str
    explanation: str
    table: Table | None
    query: Query
    missing: str = ""
