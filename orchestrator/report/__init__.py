"""What is shown: the only room that knows Altair."""

from __future__ import annotations

from orchestrator.report.evidence import check_claims as check_claims
from orchestrator.report.report import write_report as write_report
