"""The report as one HTML file, readable offline and without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2

from orchestrator.errors import ExportError
from orchestrator.reporting.claims.answer import Answer, in_words, number_of
from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.claims.verdict_scale import bar_of
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures import Figure, cell
from orchestrator.reporting.page.arrangement import arrange
from orchestrator.reporting.page.drawings import Drawings
from orchestrator.reporting.page.svg import embedded_json
from orchestrator.reporting.text.facts import Fact
from orchestrator.reporting.text.how_to_reproduce import Provenance
from orchestrator.reporting.text.methods import Methods
from orchestrator.reporting.text.section import Section
from orchestrator.results import Location
from orchestrator.results.store.atomic import write_atomically
from orchestrator.statistics.claim import counted, number, with_interval

_MARKS = {"holds": "✓", "fails": "✗", "unclear": "?"}


@dataclass(frozen=True)
class Page:
    """The content of a report.

    Attributes:
        name: Name of the study.
        question: Question of the study, or "".
        missing: What the study lacks, or "" if it is finished.
        answer: The answer to the question.
        facts: What the answer rests on, and what went wrong.
        claims: Claims of the study with their verdicts.
        multiplicity: Sentences on the expected number of wrong verdicts, or "".
        figures: Figures, including missing ones with the reason.
        methods: The methods section.
        sections: Further tables, such as the audit's.
        limitations: Sentences on the limitations of the study.
        provenance: The provenance section.
        queries: All queries that were run, without duplicates.
        written_at: Time at which the report was written.
    """

    name: str
    question: str
    missing: str
    answer: Answer
    facts: Sequence[Fact]
    claims: Sequence[Judged]
    multiplicity: str
    figures: Sequence[Figure]
    methods: Methods
    sections: Sequence[Section]
    limitations: Sequence[str]
    provenance: Provenance
    queries: Sequence[Query]
    written_at: str


def render(page: Page, drawings: Drawings | None = None, *, watched: bool = False) -> str:
    """Render the page as HTML.

    Args:
        page: The content of the page.
        drawings: Drawings that have been begun; by default, every figure is drawn here.
        watched: Whether the page will be written again as results arrive.
    """
    arranged = arrange(page.figures, page.claims)
    figures = arranged.in_order
    return fill_template(
        "page.html",
        figures,
        drawings,
        page=page,
        watched=watched,
        arranged=arranged,
        numbers={figure.key: number for number, figure in enumerate(figures, 1)},
    )


def fill_template(
    name: str, figures: Sequence[Figure], drawings: Drawings | None = None, **content: Any
) -> str:
    """Render a self-contained HTML file; text from the data or the study is escaped.

    Args:
        name: Name of a template that extends ``layout.html``.
        figures: Figures on the page, whose drawings and specifications are embedded.
        drawings: Drawings that have been begun; by default, every figure is drawn here.
        **content: Other variables of the template.
    """
    if drawings is None:
        with Drawings() as drawings:
            return fill_template(name, figures, drawings, **content)
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(_resource),
    )
    environment.filters["bar"] = lambda judged: bar_of(judged.claim, judged.scale)
    environment.filters["capitalized"] = lambda text: text[:1].upper() + text[1:]
    environment.filters["cell"] = cell
    environment.filters["counted"] = counted
    environment.filters["in_words"] = in_words
    environment.filters["interval"] = with_interval
    environment.filters["number_of"] = number_of
    environment.filters["span"] = _span
    environment.filters["probability"] = _probability
    drawn = [figure for figure in figures if figure.chart is not None]
    return environment.get_template(name).render(
        figures=figures,
        marks=_MARKS,
        drawings={figure.key: drawings.svg(figure) for figure in drawn},
        specifications={figure.key: embedded_json(figure.chart) for figure in drawn},
        style=_resource("style.css"),
        script=_resource("page.js"),
        bundle=drawings.scripts() if drawn else "",
        **content,
    )


def write_page(path: Location, page: str) -> None:
    """Write a page atomically, creating missing parent folders.

    Raises:
        ExportError: If the path is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error


def _span(ends: tuple[float, float]) -> str:
    return f"{number(ends[0])} to {number(ends[1])}"


def _probability(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.2g}"


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
