"""What a figure is: a chart with its words, its numbers and its SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.queries import Query

MOST_TABLE_ROWS = 60


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, for those who don't see it or want them exactly.

    Attributes:
        columns: Heads, with units.
        rows: As many as are shown.
        total: As many as there are.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: int

    @classmethod
    def of(cls, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
        """The first rows of what may be many."""
        shown = tuple(tuple(row) for row in rows[:MOST_TABLE_ROWS])
        return cls(tuple(columns), shown, len(rows))


def not_yet(request: str, parameters: str = "") -> str:
    """Why there is no figure of a request that the study asks for, and what would change that."""
    asked = f"'{{{request}: {{{parameters}}}}}'" if parameters else request
    return f"No final network has a {request} yet; measure RESULTS {asked} adds it."


@dataclass(frozen=True)
class Figure:
    """One figure, or one sentence that says why there is none.

    Attributes:
        key: Anchor in the page.
        title: What it shows, a few words.
        caption: What is to be seen and how it was made; whole sentences.
        alternative: For readers who can't see it: kind of chart, axes, what stands out.
        queries: What it was made from.
        table: Its numbers.
        chart: Its Vega-Lite specification; None if it can't be drawn.
        missing: Why it can't be drawn, or "".
    """

    key: str
    title: str
    caption: str = ""
    alternative: str = ""
    queries: tuple[Query, ...] = ()
    table: Table | None = None
    chart: dict[str, Any] | None = None
    missing: str = ""
