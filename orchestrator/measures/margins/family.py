"""The built-in measures of this family, by their options."""

from __future__ import annotations

from orchestrator.measures.base import MeasureFamily
from orchestrator.measures.margins.output_margins import Margin
from orchestrator.study.measure_options.margins import MarginOptions

MARGINS: MeasureFamily = {MarginOptions: Margin}
