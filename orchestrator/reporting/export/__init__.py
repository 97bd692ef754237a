"""Exports for a paper: printable figures, tables, and the queries behind them."""

from __future__ import annotations

from orchestrator.reporting.export.exporting import FORMATS as FORMATS
from orchestrator.reporting.export.exporting import NAMES as NAMES
from orchestrator.reporting.export.exporting import Export as Export
from orchestrator.reporting.export.exporting import write_export as write_export
