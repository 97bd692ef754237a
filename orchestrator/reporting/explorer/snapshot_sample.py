"""The rows of the explorer: all snapshots, or a sample in which no condition vanishes."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query, quote
from orchestrator.study.learning_criterion import largest_error

MOST_SNAPSHOTS = 5000
FEWEST_SNAPSHOTS = 2000

_SIZES = Query(
    "explorer_sizes",
    "number of snapshots and of their conditions",
    """
    SELECT count(*) AS snapshots, count(DISTINCT condition_id) AS conditions
    FROM checkpoints JOIN trials USING (trial_id) WHERE step > 0
    """,
)
_DATASETS = Query(
    "explorer_datasets",
    "names of the data sets, which determine when a network has learned",
    "SELECT DISTINCT dataset FROM trials WHERE dataset IS NOT NULL ORDER BY dataset",
)


@dataclass(frozen=True)
class SnapshotSample:
    """The snapshots that the explorer shows.

    Attributes:
        total: Number of all snapshots.
        shown: Number of those shown.
        where: Condition on ``wide`` that selects them.
        sentence: Description of the sample, "" if all snapshots are shown.
    """

    total: int
    shown: int
    where: str
    sentence: str


def choose_snapshots(source: Source, room: int) -> SnapshotSample:
    """Choose at most 5,000 snapshots.

    Conditions take turns: each first contributes the snapshot whose name has the lowest hash, then
    the next lowest. The hash is the seed, so that the same results give the same sample.

    Args:
        source: The results.
        room: Number of snapshots for which all columns fit into the page. If they are fewer than
            all, at least 2,000 are shown, and at least one of each condition.
    """
    counts = source.rows(_SIZES)
    total, conditions = int(counts["snapshots"][0]), int(counts["conditions"][0])
    most = min(MOST_SNAPSHOTS, max(FEWEST_SNAPSHOTS, room, conditions))
    if total <= most:
        return SnapshotSample(total, total, "step > 0", "")
    where = f"""step > 0 AND checkpoint_id IN (
    SELECT checkpoint_id FROM (
        SELECT checkpoint_id, row_number() OVER (
            PARTITION BY condition_id ORDER BY md5(checkpoint_id)) AS turn
        FROM checkpoints JOIN trials USING (trial_id) WHERE step > 0)
    ORDER BY turn, md5(checkpoint_id) LIMIT {most})"""
    vanished = (
        f" {conditions - most:,} of {conditions:,} conditions are not in it."
        if conditions > most
        else " It contains every condition."
    )
    sentence = (
        f"A sample of {most:,} of {total:,} snapshots, chosen by a hash of their names with "
        f"conditions taking turns.{vanished} All numbers of the explorer come from the sample, so "
        "they differ from those of the claims, which use all snapshots."
    )
    return SnapshotSample(total, most, where, sentence)


def outcome_sql(source: Source) -> str:
    """Return SQL for the outcome of a row's network: learned, did not learn, failed or unfinished.

    The rule is that of :mod:`orchestrator.study.learning_criterion`.
    """
    errors = _largest_errors(source)
    cases = " ".join(f"WHEN {quote(name)} THEN {most!r}" for name, most in errors.items())
    too_large = f" OR last.train_error > CASE own.dataset {cases} END" if cases else ""
    return f"""CASE WHEN status = 'failed' THEN 'failed'
    WHEN status <> 'completed' THEN 'unfinished'
    WHEN trial_id IN (
        SELECT own.trial_id FROM final AS last JOIN trials AS own USING (trial_id)
        WHERE NOT isfinite(last.train_loss){too_large}) THEN 'did not learn'
    ELSE 'learned' END"""


def _largest_errors(source: Source) -> Mapping[str, float]:
    rule = source.study.get("learned")
    found = {str(name): largest_error(rule, name) for name in source.rows(_DATASETS)["dataset"]}
    return {name: most for name, most in found.items() if most is not None}
