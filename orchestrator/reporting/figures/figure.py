"""What a figure is: a chart with its words, its numbers and its SQL."""

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
    """The numbers of a figure, for those who don't see it or want them exactly.

    Attributes:
        columns: Heads, with units.
        rows: All of them, in full precision.
        digits: Significant digits to show of a number.
        smallest: Numbers nearer to zero than this are shown as 0.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    digits: int = 4
    smallest: float = 0.0

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[Any]], **shown: Any) -> Table:
        """A table of rows of any kind; ``shown`` are ``digits`` and ``smallest``."""
        return cls(tuple(columns), tuple(tuple(row) for row in rows), **shown)

    @property
    def first(self) -> tuple[tuple[Any, ...], ...]:
        """As many rows as a page shows."""
        return self.rows[:MOST_TABLE_ROWS]


def cell(value: Any, digits: int = 4, smallest: float = 0.0) -> str:
    """A value as people read it: nothing as a dash, numbers rounded, with a true minus sign.

    Args:
        value: What stands in a table.
        digits: Significant digits.
        smallest: Numbers nearer to zero than this are 0.
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
        interaction: What a reader of the page can do with it, a sentence or "".
        alternative: For readers who can't see it: kind of chart, axes, what stands out.
        queries: What it was made from.
        table: Its numbers.
        chart: Its Vega-Lite specification; None if it can't be drawn.
        missing: Why it can't be drawn, or "".
        asked: Whether the study is about it. A page leaves out what is missing and was never
            asked for.
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
        """Whether a page has it, drawn or as a sentence."""
        return self.asked or self.chart is not None

    def cut_noted(self) -> Figure:
        """The same, whose caption says so if marks lie beyond an axis and are drawn on its end."""
        if not is_cut(self.chart):
            return self
        ends = f"Numbers below {LEAST:g} or above {MOST:g} in size are drawn on the end of an axis"
        return replace(self, caption=f"{self.caption} {ends}.".strip())


def is_cut(chart: Any) -> bool:
    """Whether an axis of a Vega-Lite specification ends before its numbers; see :class:`Span`."""
    if isinstance(chart, dict):
        cut = chart.get("clamp") is True
        return cut or any(is_cut(part) for key, part in chart.items() if key != "datasets")
    return isinstance(chart, list) and any(map(is_cut, chart))
