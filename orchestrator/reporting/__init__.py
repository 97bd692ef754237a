"""Reports, claims and exports; the only package that uses Altair."""

from __future__ import annotations

from orchestrator.reporting.claims.evidence import check_claims as check_claims
from orchestrator.reporting.page.report import write_report as write_report
from orchestrator.reporting.page.several_studies import write_comparison as write_comparison
from orchestrator.reporting.page.watch import watch_report as watch_report
