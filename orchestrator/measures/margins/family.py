"""The built-in measures of this family, by their options."""

from __future__ import annotations

from orchestrator.measures.base import MeasureFamily
from orchestrator.measures.margins.distribution import MarginDistribution
from orchestrator.measures.margins.hidden_margins import HiddenMargin
from orchestrator.measures.margins.output_margins import Margin
from orchestrator.measures.margins.population_minimum import MarginPopulationMinimum
from orchestrator.study.measure_options.margins import (
    HiddenMarginOptions,
    MarginDistributionOptions,
    MarginOptions,
    PopulationMinimumOptions,
)

MARGINS: MeasureFamily = {
    MarginOptions: Margin,
    HiddenMarginOptions: HiddenMargin,
    PopulationMinimumOptions: MarginPopulationMinimum,
    MarginDistributionOptions: MarginDistribution,
}
