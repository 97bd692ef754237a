"""Charts for paper: black ink on white, in a font that comes with the renderer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import vl_convert

from orchestrator.reporting.figures import Figure
from orchestrator.reporting.figures.theme import INK
from orchestrator.reporting.page.svg import static_svg

PAPER = "white"
PRINTED_INK = "black"
FONT = "'Liberation Sans', Arial, Helvetica, sans-serif"
"""The first comes with vl-convert, so that PDF and PNG look alike on every machine."""

_FROM_DATA = frozenset({"data", "datasets", "domain", "sort", "values"})


def paper_svg(figure: Figure) -> str:
    """A figure as an SVG file that needs no page around it. Equal figures give equal text.

    Text stays text, in the font that the reader has; PDF and PNG carry their own.
    """
    drawn = static_svg(on_paper(figure.chart or {}), figure.key, figure.alternative)
    return f"{drawn}\n"


def paper_pdf(svg: str) -> bytes:
    """An SVG of :func:`paper_svg` as PDF with its fonts inside.

    Equal SVG look equal, but the library orders the objects in the file anew each time.
    """
    drawn: bytes = vl_convert.svg_to_pdf(svg)
    return drawn


def paper_png(svg: str, ppi: float) -> bytes:
    """An SVG of :func:`paper_svg` as PNG of ``ppi`` pixels an inch, which are 72 units of SVG."""
    drawn: bytes = vl_convert.svg_to_png(svg, ppi=ppi)
    return drawn


def on_paper(specification: Mapping[str, Any]) -> dict[str, Any]:
    """A chart of the report with ink, paper and font in place of what its page would give.

    Only what describes the look is changed, not what comes from data.
    """
    printed: dict[str, Any] = _inked(specification)
    printed["config"] = {**printed.get("config", {}), "background": PAPER, "font": FONT}
    return printed


def _inked(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {
            name: value if name in _FROM_DATA else _inked(value) for name, value in part.items()
        }
    if isinstance(part, list):
        return [_inked(value) for value in part]
    return PRINTED_INK if part == INK else part
