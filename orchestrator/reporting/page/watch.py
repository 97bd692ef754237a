"""A report that is rewritten while results arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.reporting.page.drawings import Drawings
from orchestrator.reporting.page.html import render, write_page
from orchestrator.reporting.page.report import read_page
from orchestrator.results import Location, ResultsFolder, versions_of_parts

REST = 30.0
"""Least seconds between the end of one report and the beginning of the next."""
SHARE = 0.1
"""Largest share of the time that writing reports takes."""


def watch_report(
    results: str | Location,
    output: str | Path | None = None,
    *,
    everything: bool = False,
    tell: Callable[[str], None],
    rest: float = REST,
) -> None:
    """Write the report now, and again whenever results have arrived, until the study is finished.

    Between reports, only the names and times of the stored files are read. The study may run
    anywhere meanwhile, or not at all.

    Args:
        results: The results folder.
        output: Path of the file; ``report.html`` in the results folder by default.
        everything: Also include stored trials that are no longer in the study's grid.
        tell: Called with one line for each report.
        rest: Least seconds between reports.

    Raises:
        ResultsError: If the path has no results, or they can no longer be read.
        ExportError: If the output is not writable.
    """
    folder = ResultsFolder.open(results)
    path = folder.report if output is None else Path(output)
    while True:
        written = versions_of_parts(folder)
        began = time.monotonic()
        with Drawings() as drawings:
            page, _ = read_page(results, everything=everything, complete=drawings.begin)
            write_page(path, render(page, drawings, watched=bool(page.missing)))
        took = time.monotonic() - began
        tell(f"{page.written_at} {path}: {page.missing or 'the study is finished'}")
        if not page.missing:
            return
        time.sleep(max(rest, took * (1 / SHARE - 1)))
        while versions_of_parts(folder) == written:
            time.sleep(rest)
