"""The figures of a report, in the order in which they argue."""

from __future__ import annotations

from orchestrator.report.figures.cost import cost_figure
from orchestrator.report.figures.designs import designs_figure
from orchestrator.report.figures.environments import environments_figure
from orchestrator.report.figures.figure import Figure as Figure
from orchestrator.report.figures.figure import Table as Table
from orchestrator.report.figures.figure import cell as cell
from orchestrator.report.figures.flatness_margin import flatness_margin_figure
from orchestrator.report.figures.gaps import gaps_figure
from orchestrator.report.figures.granulated import granulated_figure
from orchestrator.report.figures.interventions import interventions_figure
from orchestrator.report.figures.predictors import predictors_figure
from orchestrator.report.figures.threshold import threshold_figure
from orchestrator.report.figures.training import training_figure
from orchestrator.report.hue import choose_hue
from orchestrator.report.predictors import trained_networks
from orchestrator.report.source import Source

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
)
"""The key of each, whether it can be drawn or not."""


def all_figures(source: Source) -> list[Figure]:
    """Every figure; those that can't be drawn say why."""
    hue = choose_hue(source)
    trained = trained_networks(source)
    return [
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
    ]
