"""Rates at which claims hold and fail in simulated worlds with known truth.

The table is written by ``python -m tests.statistics.claims.rates`` and checked by
``python -m tests.full verdicts``.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from importlib import resources

from orchestrator.reporting.figures import Table
from orchestrator.study.claim_options import BuiltInClaim, StatedClaim

_HEADS = ("claim", "world", "claim is", "studies", "holds in %", "fails in %")


def row_name(claim: BuiltInClaim | StatedClaim) -> str:
    """Return the name of a claim in the table; for a stated claim, its statistic."""
    return f"stated: {claim.statistic}" if isinstance(claim, StatedClaim) else claim.name


def verdict_rates(claims: Collection[str]) -> Table:
    """Return the rates of some claims.

    Args:
        claims: Names of the claims in the table.
    """
    text = resources.files(__package__).joinpath("verdict_rates.csv").read_text(encoding="utf-8")
    rows = [
        (
            row["claim"],
            row["world"],
            row["truth"],
            int(row["studies"]),
            *(100 * int(row[verdict]) / int(row["studies"]) for verdict in ("holds", "fails")),
        )
        for row in csv.DictReader(text.splitlines())
        if row["claim"] in claims
    ]
    return Table.of(_HEADS, rows, digits=3)
