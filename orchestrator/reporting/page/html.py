"""The report as one HTML file: no network, and readable without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2

from orchestrator.errors import ExportError
from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures import Figure, cell
from orchestrator.reporting.page.svg import embedded_json, scripts, static_svg
from orchestrator.reporting.text.how_to_reproduce import Provenance
from orchestrator.reporting.text.methods import Methods
from orchestrator.reporting.text.section import Section
from orchestrator.results import Location
from orchestrator.results.store.atomic import write_atomically
from orchestrator.statistics import Estimate
from orchestrator.statistics.claim import counted, number, with_interval

_MARKS = {"holds": "✓", "fails": "✗", "unclear": "?"}


@dataclass(frozen=True)
class Page:
    """Everything a report says.

    Attributes:
        name: Name of the study.
        question: Its question, or "".
        unfinished: What is missing of it, or "".
        answer: One paragraph.
        counts: How many trials, snapshots and values it rests on.
        claims: Its claims, judged.
        multiplicity: How many of their verdicts are expected to be wrong, or "".
        figures: Its figures, or why they are missing.
        methods: How it was done.
        sections: Further tables, such as that of the audit.
        limitations: What must not be concluded.
        provenance: Where it comes from.
        queries: Every query asked, each once.
        written_at: When the report was written.
    """

    name: str
    question: str
    unfinished: str
    answer: str
    counts: str
    claims: Sequence[Judged]
    multiplicity: str
    figures: Sequence[Figure]
    methods: Methods
    sections: Sequence[Section]
    limitations: Sequence[str]
    provenance: Provenance
    queries: Sequence[Query]
    written_at: str


def render(page: Page) -> str:
    """The page as HTML."""
    figures = [figure for figure in page.figures if figure.shown]
    return fill_template(
        "page.html",
        figures,
        page=page,
        numbers={figure.key: number for number, figure in enumerate(figures, 1)},
    )


def fill_template(name: str, figures: Sequence[Figure], **content: Any) -> str:
    """A self-contained HTML file. Whatever came from data or study is escaped.

    Args:
        name: The template, one that extends ``layout.html``.
        figures: The figures in it, for their drawings and their scripts.
        **content: What else the template asks for.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(_resource),
    )
    environment.filters["cell"] = cell
    environment.filters["counted"] = counted
    environment.filters["interval"] = _interval
    environment.filters["span"] = _span
    environment.filters["probability"] = _probability
    drawn = [figure for figure in figures if figure.chart is not None]
    return environment.get_template(name).render(
        figures=figures,
        marks=_MARKS,
        drawings={
            figure.key: static_svg(figure.chart or {}, figure.key, figure.alternative)
            for figure in drawn
        },
        specifications={figure.key: embedded_json(figure.chart) for figure in drawn},
        style=_resource("style.css"),
        script=_resource("page.js"),
        bundle=scripts() if drawn else "",
        **content,
    )


def write_page(path: Location, page: str) -> None:
    """Write a page in full or not at all, and the folders above it where they are missing.

    Raises:
        ExportError: If nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error


def _interval(estimate: Estimate) -> str:
    return with_interval(estimate)


def _span(ends: tuple[float, float]) -> str:
    return f"{number(ends[0])} to {number(ends[1])}"


def _probability(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.2g}"


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
