"""Figures: a chart with its text, numbers and SQL."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures.scales import LEAST, MOST

MOST_TABLE_ROWS = 60


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, for readers who can't see it or need exact values.

    Attributes:
        columns: Column heads, with units.
        rows: All rows, in full precision.
        digits: Significant digits to show.
        smallest: Numbers closer to zero than this are shown as 0.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    digits: int = 4
    smallest: float = 0.0

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[Any]], **shown: Any) -> Table:
        """Build a table from any sequences; ``shown`` may set ``digits`` and ``smallest``."""
        return cls(tuple(columns), tuple(tuple(row) for row in rows), **shown)

    @property
    def first(self) -> tuple[tuple[Any, ...], ...]:
        """The first rows, as many as a page shows."""
        return self.rows[:MOST_TABLE_ROWS]


def cell(value: Any, digits: int = 4, smallest: float = 0.0) -> str:
    """Format a table value: a dash if empty, numbers rounded and with a true minus sign.

    Args:
        value: The table value.
        digits: Significant digits.
        smallest: Numbers closer to zero than this are shown as 0.
    """
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    if abs(value) < smallest:
        return "0"
    return f"{value:.{digits}g}".replace("-", "−")


def not_yet(request: str, parameters: str = "") -> str:
    """Return a sentence that explains why a request has no figure yet and how to add it."""
    asked = f"'{{{request}: {{{parameters}}}}}'" if parameters else request
    return f"No final network has {request} yet; to add it: measure RESULTS {asked}."


@dataclass(frozen=True)
class Figure:
    """One figure, or one sentence that explains why it is missing.

    Attributes:
        key: Anchor in the page.
        title: Title of a few words.
        caption: Full sentences on the content of the figure and how it was made.
        interaction: Sentence on how a reader of the page can interact with it, or "".
        alternative: Text for readers who can't see it: chart type, axes, main features.
        queries: Queries for its data.
        table: Its numbers.
        chart: Its Vega-Lite specification; None if it can't be drawn.
        missing: Reason why it can't be drawn, or "".
        asked: Whether the study requests it. A page omits missing figures that were not
            requested.
    """

    key: str
    title: str
    caption: str = ""
    interaction: str = ""
    alternative: str = ""
    queries: tuple[Query, ...] = ()
    table: Table | None = None
    chart: dict[str, Any] | None = None
    missing: str = ""
    asked: bool = True

    @property
    def shown(self) -> bool:
        """Whether a page includes the figure, drawn or as a sentence."""
        return self.asked or self.chart is not None

    def cut_noted(self) -> Figure:
        """Return the figure with a note in its caption if marks are clamped to an axis end."""
        if not is_cut(self.chart):
            return self
        ends = f"Magnitudes below {LEAST:g} or above {MOST:g} are drawn at the end of the axis"
        return replace(self, caption=f"{self.caption} {ends}.".strip())


def is_cut(chart: Any) -> bool:
    """Whether an axis of a Vega-Lite specification clamps its values; see :class:`Span`."""
    if isinstance(chart, dict):
        cut = chart.get("clamp") is True
        return cut or any(is_cut(part) for key, part in chart.items() if key != "datasets")
    return isinstance(chart, list) and any(map(is_cut, chart))
