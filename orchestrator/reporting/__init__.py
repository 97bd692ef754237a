"""What is shown: the only room that knows Altair."""

from __future__ import annotations

from orchestrator.reporting.comparison import write_comparison as write_comparison
from orchestrator.reporting.evidence import check_claims as check_claims
from orchestrator.reporting.report import write_report as write_report
