"""Fragility of each measure: the audit as a compact table."""

from __future__ import annotations

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import FRAGILITY
from orchestrator.reporting.figures import Table
from orchestrator.reporting.text.section import Section
from orchestrator.statistics.claim import counted

_HEADS = (  # For the view's columns, in the view's order; short, so that eight fit side by side.
    "layers rescaled",
    "units permuted",
    "logits scaled",
    "other passes",
    "data twice",
    "float32",
    "half data",
    "other probes",
)
_LEAST = 0.001  # Changes below half of this are shown as 0.


def describe_fragility(source: Source) -> Section:
    """Describe the audits, with one row per value and one column per change."""
    rows = source.rows(FRAGILITY).tuples()  # measure, variant, split, snapshots, excluded, …
    if not rows:
        missing = "No network has been audited yet."
        return Section("fragility", "Fragility", "", None, FRAGILITY, missing)
    snapshots = max(row[3] for row in rows)
    excluded = sum(row[4] for row in rows)
    missing = (
        f" {counted(excluded, 'value')} could not be compared (not finite or failed); "
        "the table audit gives reasons."
        if excluded
        else ""
    )
    explanation = (
        f"{counted(snapshots, 'network')} remeasured after changes that should not matter: "
        "layers rescaled or units permuted with the function unchanged, logits multiplied, "
        "data split into other passes, each example twice, lower precision, half of the data, "
        "other probes. Values are medians of |after − before| relative to the larger of the two. "
        f"0.5 is a factor of two, and values below {_LEAST / 2:g} are shown as 0. A dash means "
        f"that the change or value does not exist.{missing}"
    )
    shown = [
        (", ".join(filter(None, (measure, variant))), *changes)
        for measure, variant, _, _, _, *changes in rows
    ]
    table = Table.of(("measure", *_HEADS), shown, digits=2, smallest=_LEAST / 2)
    return Section("fragility", "Fragility", explanation, table, FRAGILITY)
