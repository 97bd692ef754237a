"""The figures of a report, in the order of its argument."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from altair.utils.schemapi import debug_mode

from orchestrator.registry import import_files
from orchestrator.reporting.data.gap_predictors import trained_networks
from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.figures.figure import Figure as Figure
from orchestrator.reporting.figures.figure import Table as Table
from orchestrator.reporting.figures.figure import cell as cell
from orchestrator.reporting.figures.report_figure import REGISTERED

import_files(__name__)  # Each figure registers itself.

FIGURES = dict(sorted(REGISTERED.items(), key=lambda one: one[1].place))
"""All figures by their keys, in the order of the report, including those that can't be drawn."""


def all_figures(source: Source) -> Iterator[Figure]:
    """Yield every figure as soon as it is complete; one that can't be drawn gives the reason.

    A figure of a single request counts as asked for only if the study makes that request.
    """
    hue, trained = choose_hue(source), trained_networks(source)
    asked = [
        (options["name"], options.get("dimensions"))
        for key in ("measures", "final_measures")
        for options in source.study.get(key, ())
    ]
    for one in FIGURES.values():
        with debug_mode(False):  # Neither charts nor their parts are validated.
            figure = one.draw_with(source=source, hue=hue, trained=trained)
        if one.request:
            figure = replace(figure, asked=(one.request, one.dimensions) in asked)
        yield figure.cut_noted()
