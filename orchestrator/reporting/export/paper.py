"""Charts for print: black on white, in a font that comes with the renderer."""

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
"""The first font comes with vl-convert, so PDF and PNG look the same on every machine."""

_FROM_DATA = frozenset({"data", "datasets", "domain", "sort", "values"})


def paper_svg(figure: Figure) -> str:
    """Return a figure as a standalone SVG file. Identical figures give identical text.

    Text stays text, in a font of the reader's machine; PDF and PNG contain their font.
    """
    drawn = static_svg(on_paper(figure.chart or {}), figure.key, figure.alternative)
    return f"{drawn}\n"


def paper_pdf(svg: str) -> bytes:
    """Convert an SVG of :func:`paper_svg` to PDF with embedded fonts.

    Identical SVGs look identical, but the library orders the objects in the file differently
    each time.
    """
    drawn: bytes = vl_convert.svg_to_pdf(svg)
    return drawn


def paper_png(svg: str, ppi: float) -> bytes:
    """Convert an SVG of :func:`paper_svg` to PNG with ``ppi`` pixels per inch (72 SVG units)."""
    drawn: bytes = vl_convert.svg_to_png(svg, ppi=ppi)
    return drawn


def on_paper(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chart of the report with its own ink, background and font, not those of a page.

    Only styling changes; values that come from data do not.
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
