"""The figures of a report, in the order of its argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from altair.utils.schemapi import debug_mode

from orchestrator.reporting.data.gap_predictors import trained_networks
from orchestrator.reporting.data.hue import Hue, choose_hue
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.figures import (
    loss_slices,
    margin_distribution,
    smallest_margins,
    spectral_density,
)
from orchestrator.reporting.figures.along_training import training_figure
from orchestrator.reporting.figures.by_hyperparameter import granulated_figure
from orchestrator.reporting.figures.changed_training import interventions_figure
from orchestrator.reporting.figures.cost import cost_figure
from orchestrator.reporting.figures.coverage import coverage_figure
from orchestrator.reporting.figures.designs import designs_figure
from orchestrator.reporting.figures.figure import Figure as Figure
from orchestrator.reporting.figures.figure import Table as Table
from orchestrator.reporting.figures.figure import cell as cell
from orchestrator.reporting.figures.flatness_margin import flatness_margin_figure
from orchestrator.reporting.figures.gap_ranking import predictors_figure
from orchestrator.reporting.figures.gaps import gaps_figure
from orchestrator.reporting.figures.threshold import threshold_figure
from orchestrator.reporting.figures.worst_pairs import environments_figure

FIGURE_KEYS = (
    "threshold",
    "flatness-margin",
    "interventions",
    "gaps",
    "predictors",
    "granulated",
    "environments",
    "designs",
    "training",
    "cost",
    "coverage",
    "margin-distribution",
    "smallest-margins",
    "spectral-density",
    "loss-slices",
    "loss-planes",
)
"""The keys of all figures, including those that can't be drawn."""

_OF_REQUESTS: tuple[tuple[str, int | None, Callable[[Source, Hue | None], Figure]], ...] = (
    (margin_distribution.REQUEST, None, margin_distribution.margin_distribution_figure),
    (
        smallest_margins.REQUEST,
        None,
        lambda source, _: smallest_margins.smallest_margins_figure(source),
    ),
    (spectral_density.REQUEST, None, spectral_density.spectral_density_figure),
    (loss_slices.REQUEST, 1, loss_slices.loss_slices_figure),
    (loss_slices.REQUEST, 2, loss_slices.loss_planes_figure),
)
"""Request, its ``dimensions`` if it has that option, and the function that draws it."""


def all_figures(source: Source) -> list[Figure]:
    """Return every figure; one that can't be drawn gives the reason.

    A figure of a single request counts as asked for only if the study makes that request.
    """
    hue = choose_hue(source)
    trained = trained_networks(source)
    asked = [
        (options["name"], options.get("dimensions"))
        for key in ("measures", "final_measures")
        for options in source.study.get(key, ())
    ]
    with debug_mode(False):  # Each chart is validated only once, when it is finished.
        drawn = [
            threshold_figure(source),
            flatness_margin_figure(source, hue),
            interventions_figure(source),
            gaps_figure(source, hue),
            predictors_figure(trained),
            granulated_figure(trained),
            environments_figure(source, trained),
            designs_figure(source),
            training_figure(source, hue),
            cost_figure(source),
            coverage_figure(source, hue),
            *(
                replace(draw(source, hue), asked=(request, dimensions) in asked)
                for request, dimensions, draw in _OF_REQUESTS
            ),
        ]
    return [figure.cut_noted() for figure in drawn]
