"""The strip of facts below the verdicts: what the report rests on, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.durations import duration
from orchestrator.reporting.data.completeness import Progress
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import MEASURE_STATUS, SEEDS_PER_CONDITION, Query
from orchestrator.results import did_not_learn
from orchestrator.statistics.claim import counted

SECONDS_SPENT = Query(
    "seconds_spent",
    "seconds of training, of measuring and number of measured values",
    """
    SELECT
        (SELECT coalesce(sum(train_seconds ORDER BY train_seconds), 0) FROM trials
            WHERE isfinite(train_seconds)) AS training,
        (SELECT coalesce(sum(seconds ORDER BY seconds), 0) FROM (
            SELECT max(seconds) AS seconds FROM measures
            WHERE isfinite(seconds) GROUP BY checkpoint_id, request)) AS measuring,
        (SELECT count(*) FROM measures WHERE status = 'ok') AS n_values
    """,
)
_MOST_NAMED = 3


@dataclass(frozen=True)
class Fact:
    """One cell of the strip.

    Attributes:
        head: The number with its noun.
        text: One more line.
        warns: Whether a reader must know it before trusting the verdicts.
        link: Anchor of the section with more, or "".
    """

    head: str
    text: str
    warns: bool = False
    link: str = ""


def collect_facts(source: Source, progress: Progress) -> tuple[Fact, ...]:
    """Return networks, snapshots, values and time, then everything that failed or did not learn."""
    return (*_counts(source, progress), *_warnings(source, progress))


def _counts(source: Source, progress: Progress) -> Iterator[Fact]:
    fewest, most, conditions = source.rows(SEEDS_PER_CONDITION).tuples()[0]
    seeds = ""
    if conditions and most > 1:
        seeds = f" × {most} seeds" if fewest == most else f" × {fewest} to {most} seeds"
    yield Fact(
        counted(progress.completed, "network"),
        f"{counted(conditions, 'condition')}{seeds}",
    )
    yield Fact(counted(progress.snapshots, "snapshot"), "of networks along training")
    training, measuring, values = source.rows(SECONDS_SPENT).tuples()[0]
    broken = [row for row in source.rows(MEASURE_STATUS).tuples() if row[4] == "nonfinite"]
    not_finite = sum(row[5] for row in broken)
    yield Fact(
        counted(values, "value"),
        f"{not_finite:,} more {'is' if not_finite == 1 else 'are'} not finite"
        if not_finite
        else "all finite",
    )
    yield Fact(duration(training + measuring), f"measuring {duration(measuring)} of it")


def _warnings(source: Source, progress: Progress) -> Iterator[Fact]:
    if progress.failed:
        yield Fact(f"{counted(progress.failed, 'trial')} failed", "Not in any number here.", True)
    failed = [row for row in source.rows(MEASURE_STATUS).tuples() if row[4] == "error"]
    if failed:
        names = dict.fromkeys(str(row[1]) for row in failed)
        yield Fact(
            f"{counted(sum(row[5] for row in failed), 'value')} failed", _named(list(names)), True
        )
    unlearned = did_not_learn(source.connection, source.study)
    if unlearned:
        yield Fact(f"{counted(len(unlearned), 'network')} did not learn", _named(unlearned), True)
    diverged = progress.stop_reasons.get("diverged", 0)
    if diverged:
        yield Fact(f"{counted(diverged, 'network')} diverged", "Training stopped early.", True)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}."
