"""Comparison of studies on one page: verdicts per claim, and differing hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.reporting.claims.evidence import Judged, judge_claims
from orchestrator.reporting.data.completeness import Progress, read_progress
from orchestrator.reporting.data.open_results import Source, open_source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures import Figure, Table
from orchestrator.reporting.figures.compared_threshold import compared_threshold_figure
from orchestrator.reporting.page.html import fill_template, write_page
from orchestrator.reporting.text.how_to_reproduce import Provenance, collect_report_provenance
from orchestrator.results import Location, again_if_compacted, connect
from orchestrator.results.database.several_folders import open_folders, study_labels

FILE = "comparison.html"

DIFFERING = Query(
    "differing_hyperparameters",
    "hyperparameters that differ between studies; runs on several results folders",
    """
    SELECT study, hyperparameter, settings FROM differing_hyperparameters
    ORDER BY hyperparameter, study
    """,
)


@dataclass(frozen=True)
class ComparedClaim:
    """One claim, in all studies that state it with the same statistic.

    Attributes:
        name: Name of the claim in the study files.
        anchor: Link anchor, unique on the page.
        statement: The claim in words.
        statistic: Description of the statistic.
        table: Table with one row per study: its verdict and its estimate.
        explanations: Study → explanation of its verdict, for studies that state the claim.
        queries: Queries behind the estimates.
    """

    name: str
    anchor: str
    statement: str
    statistic: str
    table: Table
    explanations: Mapping[str, str]
    queries: Sequence[Query]


@dataclass(frozen=True)
class Comparison:
    """The content of the page.

    Attributes:
        names: Labels of the studies.
        studies: Table with one row per study.
        missing: Study → what it lacks; unfinished studies only.
        differing: Table of the hyperparameters that differ between the studies.
        claims: All claims that at least one study states.
        figure: The headline figure, with one line per study.
        provenance: Study → its provenance section.
        queries: All queries that were run, without duplicates.
        written_at: Time at which the page was written.
    """

    names: Sequence[str]
    studies: Table
    missing: Mapping[str, str]
    differing: Table
    claims: Sequence[ComparedClaim]
    figure: Figure
    provenance: Mapping[str, Provenance]
    queries: Sequence[Query]
    written_at: str


def write_comparison(
    results: Sequence[str | Location], output: str | Path | None = None
) -> Location:
    """Compare studies, finished or not, in one self-contained HTML file.

    Args:
        results: Results folders of the studies.
        output: Path of the file; ``comparison.html`` beside the first folder by default.

    Returns:
        Path of the file; an existing file is replaced.

    Raises:
        ResultsError: If a path has no results or is given twice.
        ExportError: If the output is not writable.
    """
    folders = open_folders(results)
    path = folders[0].path.parent / FILE if output is None else Path(output)
    comparison = compare(results)
    page = fill_template("comparison.html", [comparison.figure], comparison=comparison)
    write_page(path, page)
    return path


@again_if_compacted
def compare(results: Sequence[str | Location]) -> Comparison:
    """Collect the content of the comparison.

    Raises:
        ResultsError: If a path has no results or is given twice.
    """
    folders = open_folders(results)
    names = study_labels(folders)
    with connect(folders, measure_columns=False) as database:
        differing = database.sql(DIFFERING.sql).fetchall()
    with ExitStack() as stack:
        sources = {
            name: stack.enter_context(open_source(folder.path))
            for name, folder in zip(names, folders, strict=True)
        }
        progress = {name: read_progress(source) for name, source in sources.items()}
        claims = _compared_claims({name: judge_claims(source) for name, source in sources.items()})
        figure = compared_threshold_figure(sources)
        provenance = {n: collect_report_provenance(source) for n, source in sources.items()}
        asked = {query.sql: query for source in sources.values() for query in source.asked}
        studies = _studies(sources, progress)
    return Comparison(
        names=names,
        studies=studies,
        missing={name: one.missing for name, one in progress.items() if one.missing},
        differing=_differing(names, differing),
        claims=claims,
        figure=figure,
        provenance=provenance,
        queries=(DIFFERING, *asked.values()),
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _studies(sources: Mapping[str, Source], progress: Mapping[str, Progress]) -> Table:
    heads = ("study", "question", "completed trials", "snapshots", "results")
    rows = [
        (
            name,
            source.study.get("question"),
            progress[name].completed,
            progress[name].snapshots,
            str(source.folder.path),
        )
        for name, source in sources.items()
    ]
    return Table.of(heads, rows)


def _differing(names: Sequence[str], rows: Sequence[tuple[str, str, str]]) -> Table:
    """Return a table with one row per hyperparameter and one column per study."""
    settings = {(study, hyperparameter): text for study, hyperparameter, text in rows}
    hyperparameters = dict.fromkeys(hyperparameter for _, hyperparameter, _ in rows)
    return Table.of(
        ("hyperparameter", *names),
        [(one, *(settings.get((name, one)) for name in names)) for one in hyperparameters],
    )


def _compared_claims(judged: Mapping[str, Sequence[Judged]]) -> list[ComparedClaim]:
    by_name: dict[str, dict[tuple[str, str], dict[str, Judged]]] = {}
    for study, claims in judged.items():
        for one in claims:
            # Studies can use one name for different claims.
            meaning = (one.claim.statement, one.claim.statistic)
            by_name.setdefault(one.claim.name, {}).setdefault(meaning, {})[study] = one
    return [
        _compared_claim(name, number, list(judged), stated, of_name)
        for name, of_name in by_name.items()
        for number, stated in enumerate(of_name.values(), 1)
    ]


def _compared_claim(
    name: str,
    number: int,
    studies: Sequence[str],
    stated: Mapping[str, Judged],
    of_name: Mapping[tuple[str, str], Mapping[str, Judged]],
) -> ComparedClaim:
    first = next(iter(stated.values())).claim
    otherwise = {study for other in of_name.values() for study in other} - stated.keys()
    heads = ("study", "verdict", "value", "from", "to", "holds if", "n", "trials")
    rows = [
        _row(study, stated.get(study), "another claim" if study in otherwise else "not claimed")
        for study in studies
    ]
    return ComparedClaim(
        name=name,
        anchor=f"claim-{name}" + (f"-{number}" if number > 1 else ""),
        statement=first.statement,
        statistic=first.statistic,
        table=Table.of(heads, rows),
        explanations={study: one.claim.explanation for study, one in stated.items()},
        queries=tuple({one.query.sql: one.query for one in stated.values()}.values()),
    )


def _row(study: str, judged: Judged | None, without: str) -> tuple[Any, ...]:
    if judged is None:
        return (study, without, *[None] * 6)
    claim, estimate = judged.claim, judged.claim.estimate
    return (
        study,
        claim.reads,
        estimate.value,
        estimate.low,
        estimate.high,
        claim.criterion,
        estimate.n,
        estimate.n_groups,
    )
