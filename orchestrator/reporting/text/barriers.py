"""Barriers on the line between networks of two seeds, as a table per condition."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from orchestrator.reporting.data.conditions import read_conditions
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import BARRIERS
from orchestrator.reporting.figures import Table
from orchestrator.reporting.text.section import Section
from orchestrator.statistics.claim import counted

_QUANTITIES = (("train", "loss"), ("test", "loss"), ("train", "error"), ("test", "error"))


def describe_barriers(source: Source) -> Section:
    """Describe linear connectivity, with one row per condition that has two or more seeds."""
    levels = read_conditions(source).levels
    values: dict[str, dict[tuple[str, str], list[float | None]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for condition, split, quantity, barrier in source.rows(BARRIERS).tuples():
        values[condition][split, quantity].append(barrier)
    if not values:
        missing = "No barriers have been measured yet; to measure them: `connectivity RESULTS`."
        return Section("barriers", "Barriers between seeds", "", None, BARRIERS, missing)
    pairs = sum(len(found["train", "loss"]) for found in values.values())
    without = sum(
        barrier is None for found in values.values() for one in found.values() for barrier in one
    )
    explanation = (
        f"This table compares {counted(pairs, 'pair')} of networks that differ only in the seed "
        "(successive seeds), along the straight line between their weights. A barrier is the "
        "largest rise of loss or error along that line above linear interpolation between its "
        "ends (Frankle et al., arXiv:1912.05671); 0 means that the networks are linearly "
        "connected. Values are medians over the pairs of a condition."
    )
    if without:
        unknown = counted(without, "barrier")
        explanation += f" {unknown} could not be computed; the table connectivity gives reasons."
    heads = (*levels, "pairs", *(f"{quantity}, {split}" for split, quantity in _QUANTITIES))
    rows = [
        (
            *(of_axis.get(condition) for of_axis in levels.values()),
            len(found["train", "loss"]),
            *(_median(found[key]) for key in _QUANTITIES),
        )
        for condition, found in sorted(values.items())
    ]
    table = Table.of(heads, rows, digits=3)
    return Section("barriers", "Barriers between seeds", explanation, table, BARRIERS)


def _median(barriers: list[float | None]) -> float | None:
    known = [barrier for barrier in barriers if barrier is not None]
    return median(known) if known else None
