"""How fragile each measure is: the audit, as a table that a glance can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.report.figures import Table
from orchestrator.report.queries import FRAGILITY, Query
from orchestrator.report.source import Source
from orchestrator.statistics.claim import counted

_CHANGES = (
    "layer_rescaling",
    "unit_permutation",
    "logit_scale",
    "batch_partition",
    "duplicated_data",
    "float32",
    "data_subset",
    "probe_seed",
)
_LEAST = 0.001  # What is below half of this is shown as no change.


@dataclass(frozen=True)
class Fragility:
    """The section on audits.

    Attributes:
        explanation: What the table shows, whole sentences.
        table: A row for each value, a column for each change.
        query: What it was made from.
    """

    explanation: str
    table: Table
    query: Query


def describe_fragility(source: Source) -> Fragility | None:
    """The section, or None as long as nothing was audited."""
    rows = source.rows(FRAGILITY).tuples()
    if not rows:
        return None
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
        "other passes over the data, each example twice, less precision, half of the data, other "
        "probes. Shown is the median of |after − before| relative to the larger of the two; "
        f"0.5 is a factor of two, and below {_LEAST / 2:g} it is 0. A dash: there is no such "
        f"change or value.{missing}"
    )
    heads = ("measure", "variant", "split", *(name.replace("_", " ") for name in _CHANGES))
    shown = [(*row[:3], *map(_rounded, row[5:])) for row in rows]
    return Fragility(explanation, Table.of(heads, shown), FRAGILITY)


def _rounded(change: Any) -> Any:
    if change is None:
        return None
    return 0 if change < _LEAST / 2 else float(f"{change:.2g}")
