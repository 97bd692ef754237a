"""How fragile each measure is: the audit, as a table that a glance can read."""

from __future__ import annotations

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import FRAGILITY
from orchestrator.reporting.figures import Table
from orchestrator.reporting.text.section import Section
from orchestrator.statistics.claim import counted

_HEADS = (  # Of the columns of the view, in its order; short, for eight of them side by side.
    "layers rescaled",
    "units permuted",
    "logits scaled",
    "other passes",
    "data twice",
    "float32",
    "half data",
    "other probes",
)
_LEAST = 0.001  # What is below half of this is shown as no change.


def describe_fragility(source: Source) -> Section:
    """The section on audits: a row for each value, a column for each change."""
    rows = source.rows(FRAGILITY).tuples()  # measure, variant, split, snapshots, excluded, …
    if not rows:
        missing = "Nothing was audited yet."
        return Section("fragility", "Fragility", "", None, FRAGILITY, missing)
    snapshots = max(row[3] for row in rows)
    excluded = sum(row[4] for row in rows)
    missing = (
        f" {counted(excluded, 'value')} could not be compared, as it was not finite or failed; "
        "the table audit says why."
        if excluded
        else ""
    )
    explanation = (
        f"{counted(snapshots, 'network')} measured again after changes that must not matter: "
        "layers rescaled and units permuted with the function unchanged, logits multiplied, "
        "the data in other passes, each example twice, less precision, half of the data, other "
        "probes. Shown is the median of |after − before| relative to the larger of the two; "
        f"0.5 is a factor of two, and below {_LEAST / 2:g} it is 0. A dash: there is no such "
        f"change or value.{missing}"
    )
    shown = [
        (", ".join(filter(None, (measure, variant))), *changes)
        for measure, variant, _, _, _, *changes in rows
    ]
    table = Table.of(("measure", *_HEADS), shown, digits=2, smallest=_LEAST / 2)
    return Section("fragility", "Fragility", explanation, table, FRAGILITY)
