"""Stored values of snapshots, which audits compare with values after a change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from orchestrator.results import ResultsFolder, again_if_compacted, connect

_COLUMNS = ("request", "measure", "variant", "split", "value", "standard_error", "status", "error")


@again_if_compacted
def read_baselines(
    folder: ResultsFolder, checkpoint_ids: Collection[str], versions: Mapping[str, int]
) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return the stored values that an audit would measure again, by checkpoint id.

    These are the values of the same requests by the same versions of their measures, in float64 as
    in audits. Requests that failed are left out.

    Args:
        folder: Results folder.
        checkpoint_ids: Ids of the snapshots.
        versions: Request → version of its measure.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if not checkpoint_ids:
        return {}
    with connect(folder.path, measure_columns=False) as database:
        rows = database.execute(
            f"""
            SELECT checkpoint_id, measure_version, {", ".join(_COLUMNS)} FROM measures
            WHERE list_contains($ids, checkpoint_id) AND dtype = 'float64' AND status <> 'error'
            """,  # noqa: S608 - names of this package
            {"ids": sorted(checkpoint_ids)},
        ).fetchall()
    for checkpoint_id, version, *values in rows:
        row = dict(zip(_COLUMNS, values, strict=True))
        if version == versions.get(row["request"]):
            found[checkpoint_id].append(row)
    return {checkpoint_id: tuple(values) for checkpoint_id, values in found.items()}
