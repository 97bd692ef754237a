"""Exporting a results folder for a paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import ExportError
from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.export.latex import latex_table
from orchestrator.reporting.export.paper import paper_pdf, paper_png, paper_svg
from orchestrator.reporting.export.table_files import csv_table, markdown_table
from orchestrator.reporting.figures import FIGURES, Figure, Table
from orchestrator.reporting.page.html import Page
from orchestrator.reporting.page.report import read_page
from orchestrator.results import Location
from orchestrator.results.store.atomic import write_atomically
from orchestrator.study.problems import did_you_mean

NAMES = (*FIGURES, "claims", "fragility", "barriers")
"""Names of what every study can export, each the stem of its files. Every claim that a study states
itself adds ``claim-NAME``."""

QUERIES = "queries.sql"
PPI = 300
MOST_PPI = 1200
_DRAWINGS: dict[str, Callable[[str, float], str | bytes]] = {
    "svg": lambda svg, ppi: svg,
    "pdf": lambda svg, ppi: paper_pdf(svg),
    "png": paper_png,
}
_TABLES: dict[str, Callable[[Table, str, str], str]] = {
    "csv": lambda table, title, caption: csv_table(table),
    "md": markdown_table,
    "tex": latex_table,
}
FORMATS = (*_DRAWINGS, *_TABLES)
"""Formats of drawings, then of tables; each is the suffix of its files."""


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
        directory: Folder of the files.
        files: Names of the files, in the order of the report.
        missing: Requested name that is not available → reason.
    """

    directory: Location
    files: tuple[str, ...]
    missing: Mapping[str, str]

    def text(self) -> str:
        """Return the directory and one line per name, with its formats or why it is missing."""
        formats: dict[str, list[str]] = {}
        for file in self.files:
            name, _, kind = file.rpartition(".")
            formats.setdefault(name, []).append(kind)
        lines = [f"  {name}: {', '.join(kinds)}" for name, kinds in formats.items()]
        lines += [f"  {name} is not available: {why}" for name, why in self.missing.items()]
        return "\n".join([str(self.directory), *lines])


@dataclass(frozen=True)
class _Part:
    """A named item of the export: a figure and its table, or a table alone."""

    name: str
    title: str
    caption: str = ""
    figure: Figure | None = None
    table: Table | None = None
    missing: str = ""


def write_export(
    results: str | Location,
    to: str | Path | None = None,
    *,
    figures: Iterable[str] | None = None,
    formats: Iterable[str] | None = None,
    ppi: float = PPI,
) -> Export:
    """Write the figures of the report, all its numbers and its queries as files for a paper.

    Files are named after the figures, such as ``threshold.pdf``, and each is written atomically.
    Files of an earlier export are replaced; other files are not touched. Identical results give
    identical files, except for PDF: the library orders its objects differently each time.

    Args:
        results: The results folder; the study need not be finished.
        to: Folder to write to; ``export`` in the results folder by default.
        figures: Which of :data:`NAMES`; all by default.
        formats: Which of :data:`FORMATS`; all by default. ``queries.sql`` is always written.
        ppi: Resolution of PNG in pixels per inch; an inch is 72 units of a figure.

    Raises:
        ResultsError: If the path has no results.
        ExportError: If a requested figure or format does not exist, the resolution is out of
            range, or the destination is not writable.
    """
    kinds = _known("format", formats, FORMATS)
    if not 1 <= ppi <= MOST_PPI:
        raise ExportError(f"ppi: got {ppi:g}, expected 1 to {MOST_PPI} pixels per inch")
    page, folder = read_page(results)
    directory = folder.path / "export" if to is None else Path(to)
    parts = {part.name: part for part in _parts(page)}
    names = _known("figure or table", figures, tuple(parts))
    chosen = [parts[name] for name in names]
    # Draw everything before writing anything.
    files = {
        f"{part.name}.{kind}": content
        for part in chosen
        for kind, content in _contents(part, kinds, ppi)
    }
    files[QUERIES] = queries_text(page.name, page.queries)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(directory / name, content)
    except OSError as error:
        raise ExportError(f"{directory}: cannot be written: {error.strerror or error}") from error
    missing = {part.name: part.missing for part in chosen if part.missing}
    return Export(directory, tuple(files), missing)


def queries_text(study: str, queries: Sequence[Query]) -> str:
    """Format all queries as one SQL file, each below a comment that describes it."""
    lines = [
        f"-- Queries behind the report of study {_one_line(study)}, on the views of its results",
        "-- folder. Run them one at a time: python -m orchestrator query RESULTS 'SELECT …'",
    ]
    for query in queries:
        lines += ["", f"-- {_one_line(query.name)}: {_one_line(query.about)}", f"{query.sql};"]
    return "\n".join(lines) + "\n"


def _known(what: str, asked: Iterable[str] | None, known: Sequence[str]) -> list[str]:
    """Return the requested names in the order of ``known``, without duplicates."""
    if asked is None:
        return list(known)
    wanted = list(asked)
    for name in wanted:
        if name not in known:
            hint = f"available: {', '.join(known)}"
            close = did_you_mean(name, known)
            raise ExportError(f"unknown {what} {name!r}", f"{close} {hint}" if close else hint)
    if not wanted:
        raise ExportError(f"no {what} selected", f"available: {', '.join(known)}")
    return [name for name in known if name in wanted]


def _parts(page: Page) -> Iterator[_Part]:
    for figure in page.figures:
        yield _Part(figure.key, figure.title, figure.caption, figure, figure.table, figure.missing)
    yield _Part(
        "claims",
        f"Claims of study {page.name}",
        table=_claims_table(page.claims) if page.claims else None,
        missing="" if page.claims else "The study states no claims.",
    )
    for section in page.sections:
        yield _Part(
            section.key,
            section.title,
            section.explanation,
            table=section.table,
            missing=section.missing,
        )


def _contents(part: _Part, kinds: Sequence[str], ppi: float) -> Iterator[tuple[str, str | bytes]]:
    drawings = [kind for kind in kinds if kind in _DRAWINGS]
    if part.figure is not None and part.figure.chart is not None and drawings:
        svg = paper_svg(part.figure)
        yield from ((kind, _DRAWINGS[kind](svg, ppi)) for kind in drawings)
    if part.table is not None:
        for kind in kinds:
            if kind in _TABLES:
                yield kind, _TABLES[kind](part.table, part.title, part.caption)


def _claims_table(claims: Sequence[Judged]) -> Table:
    heads = (
        "claim",
        "verdict",
        "scope",
        "statistic",
        "value",
        "from",
        "to",
        "holds if",
        "n",
        "trials",
        "left out",
        "statement",
        "explanation",
    )
    return Table.of(heads, [_claim_row(judged) for judged in claims])


def _claim_row(judged: Judged) -> tuple[Any, ...]:
    claim, estimate = judged.claim, judged.claim.estimate
    return (
        claim.name,
        claim.verdict,
        claim.scope,
        claim.statistic,
        estimate.value,
        estimate.low,
        estimate.high,
        claim.criterion,
        estimate.n,
        estimate.n_groups,
        estimate.n_excluded,
        f"{claim.statement}.",
        claim.explanation,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
