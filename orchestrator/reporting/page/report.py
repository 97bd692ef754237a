"""Building ``report.html`` from a results folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from orchestrator.reporting.claims.answer import answer
from orchestrator.reporting.claims.evidence import expected_wrong, judge_claims
from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.open_results import Source, open_source
from orchestrator.reporting.explorer.exploring import explore
from orchestrator.reporting.figures import Figure, all_figures
from orchestrator.reporting.figures.claim_rows import stated_claim_figures
from orchestrator.reporting.page.drawings import Drawings
from orchestrator.reporting.page.html import Page, render, write_page
from orchestrator.reporting.text.barriers import describe_barriers
from orchestrator.reporting.text.facts import collect_facts
from orchestrator.reporting.text.fragility import describe_fragility
from orchestrator.reporting.text.how_to_reproduce import collect_report_provenance
from orchestrator.reporting.text.limitations import find_limitations
from orchestrator.reporting.text.methods import describe_methods
from orchestrator.results import Location, ResultsFolder, again_if_compacted


def write_report(
    results: str | Location, output: str | Path | None = None, *, everything: bool = False
) -> Location:
    """Write the report of a study, finished or not, as one self-contained HTML file.

    Args:
        results: The results folder.
        output: Path of the file; ``report.html`` in the results folder by default.
        everything: Also include stored trials that are no longer in the study's grid.

    Returns:
        Path of the file; an existing file is replaced.

    Raises:
        ResultsError: If the path has no results.
        ExportError: If the output is not writable.
    """
    with Drawings() as drawings:
        page, folder = read_page(results, everything=everything, complete=drawings.begin)
        path = folder.report if output is None else Path(output)
        write_page(path, render(page, drawings))
    return path


@again_if_compacted
def read_page(
    results: str | Location,
    *,
    everything: bool = False,
    complete: Callable[[Figure], object] = bool,
) -> tuple[Page, ResultsFolder]:
    """Return the content of the report of a results folder, and the folder.

    Args:
        results: The results folder.
        everything: Also include stored trials that are no longer in the study's grid.
        complete: Called with each figure as soon as it is complete.
    """
    with open_source(results, everything=everything) as source:
        return compose(source, complete), source.folder


def compose(source: Source, complete: Callable[[Figure], object] = bool) -> Page:
    """Collect the content of the report; ``complete`` is called with each complete figure."""
    progress = read_progress(source)
    claims = judge_claims(source)
    figures = []
    for figure in chain(all_figures(source), stated_claim_figures(source, claims)):
        complete(figure)
        figures.append(figure)
    drawn = {figure.key for figure in figures if figure.chart is not None}
    methods = describe_methods(source, drawn)
    sections = (describe_fragility(source), describe_barriers(source))
    limitations = find_limitations(source, progress)
    explorer = explore(source)
    provenance = collect_report_provenance(source)
    shown = [query for figure in figures for query in figure.queries]
    asked = {query.sql: query for query in (*shown, *source.asked)}
    return Page(
        name=str(source.study["study"]),
        question=str(source.study.get("question", "")),
        missing=progress.missing,
        answer=answer(claims),
        facts=collect_facts(source, progress),
        claims=claims,
        multiplicity=expected_wrong(claims),
        figures=figures,
        methods=methods,
        sections=sections,
        limitations=limitations,
        explorer=explorer,
        provenance=provenance,
        queries=tuple(asked.values()),
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
