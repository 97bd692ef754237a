"""The view over audits."""

from __future__ import annotations

from typing import Any

from orchestrator.results import ResultsFolder, compact, write_part
from tests.results.conftest import ask


def audit_row(change: str, relative_change: float | None, **columns: Any) -> dict[str, Any]:
    return {
        "trial_id": "a0",
        "checkpoint_id": "a0-1",
        "change": change,
        "request": "norms",
        "measure": "weight_norm",
        "relative_change": relative_change,
        "status": "ok",
    } | columns


def test_fragility_is_the_median_over_the_newest_audits_of_snapshots(
    folder: ResultsFolder,
) -> None:
    rows = [
        audit_row("layer_rescaling", change, checkpoint_id=f"a0-{step}")
        for step, change in enumerate((0.1, 0.5, 0.2))
    ]
    rows.append(audit_row("float32", None, status="nonfinite"))
    rows.append(audit_row("unit_permutation", None, status="not_applicable", measure=""))
    write_part(folder, "audit", rows, "first")
    write_part(folder, "audit", [audit_row("layer_rescaling", 0.9)], "again")
    sql = "SELECT measure, split, snapshots, excluded, layer_rescaling, float32 FROM fragility"
    assert ask(folder, sql) == [("weight_norm", None, 3, 1, 0.2, None)]
    compact(folder)
    assert ask(folder, sql) == [("weight_norm", None, 3, 1, 0.2, None)]
