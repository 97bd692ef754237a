"""The drawings of a page, made in another thread while the rest of the page is computed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from orchestrator.reporting.figures import Figure
from orchestrator.reporting.page.svg import scripts, static_svg


class Drawings:
    """The drawings of the figures of one page, and the scripts that a page with drawings needs.

    The renderer works outside Python's global lock, on one drawing at a time. The end of the
    ``with`` statement drops whatever has not been drawn.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "drawings")
        self._scripts = self._thread.submit(scripts)
        self._drawn: dict[str, tuple[Figure, Future[str]]] = {}

    def __enter__(self) -> Self:
        """Return the drawings."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        """Wait for the drawing in progress, if any."""
        self._thread.shutdown(cancel_futures=True)

    def begin(self, figure: Figure) -> Figure:
        """Begin to draw a figure that has a chart, and return the figure."""
        if figure.chart is not None:
            drawn = self._thread.submit(static_svg, figure.chart, figure.key, figure.alternative)
            self._drawn[figure.key] = figure, drawn
        return figure

    def svg(self, figure: Figure) -> str:
        """Return the drawing of a figure that has a chart, as :func:`static_svg` does."""
        begun = self._drawn.get(figure.key)
        if begun is None or begun[0].chart is not figure.chart:
            self.begin(figure)
        return self._drawn[figure.key][1].result()

    def scripts(self) -> str:
        """Return the scripts that make drawings interactive."""
        return self._scripts.result()
