"""Registration of the report's figures, and the guard of a figure that can't be drawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec

from orchestrator.reporting.data.curve_queries import Chosen, choose_curves
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures.figure import Figure, Table, not_yet

P = ParamSpec("P")
_GIVEN = ("source", "hue", "trained")


@dataclass(frozen=True)
class Drawn:
    """What a figure's function returns; the attributes are those of :class:`Figure`."""

    chart: dict[str, Any]
    table: Table
    caption: str
    alternative: str
    queries: tuple[Query, ...]
    interaction: str = ""


class Missing(Exception):
    """Raised by a figure's function if the results do not suffice to draw it.

    Args:
        reason: One sentence for the reader of the report.
        *queries: Queries that show it.
        table: A table that exists without the chart.
        asked: Whether to show the sentence in the report.
    """

    def __init__(
        self, reason: str, *queries: Query, table: Table | None = None, asked: bool = True
    ) -> None:
        super().__init__(reason)
        self.queries, self.table, self.asked = queries, table, asked


@dataclass
class ReportFigure:
    """A figure of the report, and the decorator that registers the function that draws it.

    The function takes any of ``source`` (:class:`Source`), ``hue`` (:class:`Hue` or None) and
    ``trained`` (:class:`Trained`), by these names. It returns :class:`Drawn` or raises
    :class:`Missing`; decorated, it returns a :class:`Figure` in either case. Figures of other
    pages, such as the comparison of studies, are not registered.

    Attributes:
        key: Anchor in the page, and stem of exported files.
        title: Title of a few words.
        place: Place in the report: smaller numbers come first.
        request: The single request that the figure shows, or "". A study that does not make it
            gets no sentence about the missing figure.
        dimensions: The request's option ``dimensions``, if it has one.
        methods: Heading and text of a paragraph on its statistics, or None.
        draw: The decorated function.

    Raises:
        TypeError: If the key is taken, or the function has other arguments.
    """

    key: str
    title: str
    place: int
    request: str = ""
    dimensions: int | None = None
    methods: tuple[str, str] | None = None
    draw: Callable[..., Figure] = field(init=False)

    def __call__(self, function: Callable[P, Drawn]) -> Callable[P, Figure]:
        """Register the function."""

        @wraps(function)
        def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
            try:
                return Figure(self.key, self.title, **vars(function(*args, **kwargs)))
            except Missing as why:
                return Figure(self.key, self.title, missing=str(why), **vars(why))

        if self.key in REGISTERED:
            raise TypeError(f"figure {self.key!r}: the key is taken; choose another")
        if unknown := set(inspect.signature(function).parameters) - set(_GIVEN):
            raise TypeError(
                f"figure {self.key!r}: {function.__name__} takes {min(unknown)!r}, expected "
                f"arguments named {', '.join(_GIVEN)}, or some of them"
            )
        self.draw = draw
        REGISTERED[self.key] = self
        return draw

    def draw_with(self, **given: Any) -> Figure:
        """Draw the figure with those of ``source``, ``hue`` and ``trained`` that it takes."""
        return self.draw(**{name: given[name] for name in inspect.signature(self.draw).parameters})


REGISTERED: dict[str, ReportFigure] = {}
"""Every figure of the report by its key, in the order of registration."""


def measured(source: Source, names: Iterable[str]) -> list[str]:
    """Return those columns of ``wide`` that the results have.

    Raises:
        Missing: If they have none of them.
    """
    wanted = list(names)
    found = [name for name in wanted if source.has(name)]
    if not found:
        raise Missing(f"No snapshot has a {' or a '.join(wanted)}.")
    return found


def curves_of(
    source: Source, request: str, curve: str = "", dimensions: int | None = None
) -> Chosen:
    """Return the curves of final networks that a figure of one request draws.

    Args:
        source: The results.
        request: The request that measures the curve.
        curve: Name of the curve; by default that of the request.
        dimensions: The request's option ``dimensions``, if it has one.

    Raises:
        Missing: If no final network has the curve.
    """
    variant = None if dimensions is None else f"dimensions={dimensions}"
    chosen = choose_curves(source, curve or request, variant)
    if chosen is None:
        options = f"dimensions: {dimensions}" if dimensions and dimensions > 1 else ""
        raise Missing(not_yet(request, options))
    return chosen
