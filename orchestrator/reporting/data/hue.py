"""The hyperparameter that determines colours in figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.data.open_results import Source, claims_of
from orchestrator.reporting.data.queries import distinct_values
from orchestrator.study.claim_options import CLAIM_NEEDS, BuiltInClaim, StatedClaim
from orchestrator.study.columns import path_columns
from orchestrator.study.design import design_axes

MOST_NAMED = 7
"""With more levels than this, colours come from a continuous scale."""
MOST_LEVELS = 100
"""A hyperparameter with more levels is no hue: no reader can tell them apart, and Vega fails on
scales of thousands."""


@dataclass(frozen=True)
class Hue:
    """A hyperparameter that varies in the study.

    Attributes:
        column: Column of the hyperparameter in ``gap``, ``final`` and ``wide``.
        title: Name in the figures.
        levels: Values as text, in order.
        of_trial: Column in ``trials``, if its name differs there.
    """

    column: str
    title: str
    levels: tuple[str, ...]
    of_trial: str | None = None


def choose_hue(source: Source) -> Hue | None:
    """Choose the hyperparameter that the study's claims are about, else the one with most levels.

    Only those that vary are considered, and none with more than ``MOST_LEVELS`` levels. Among
    equals the first in the order of the sweep is chosen, batch size before all.
    """
    found = []
    for column in varied_columns(source):
        values = source.rows(distinct_values(column))["value"]
        levels = tuple(dict.fromkeys(map(level_text, values)))
        if len(levels) <= MOST_LEVELS:
            title = column.replace("_", " ")
            found.append(Hue(source.trial_columns[column], title, levels, column))
    claimed = {name for claim in claims_of(source) for name in _claimed(claim)}
    return max(
        found,
        key=lambda hue: (bool(claimed & {hue.column, hue.of_trial}), len(hue.levels)),
        default=None,
    )


def _claimed(claim: BuiltInClaim | StatedClaim) -> tuple[str, ...]:
    """Return the columns that a claim is about."""
    if isinstance(claim, StatedClaim):
        return (claim.x, claim.y, *claim.given)
    return CLAIM_NEEDS[claim.name].hyperparameters


def varied_columns(source: Source) -> tuple[str, ...]:
    """Return the columns of ``trials`` with the hyperparameters that the study varies."""
    paths = [path for axis in design_axes(source.study) for path in axis.paths]
    columns = path_columns(paths).values()
    return tuple(
        column
        for column in dict.fromkeys(["batch_size", *columns])
        if column in source.trial_columns and len(source.rows(distinct_values(column))) > 1
    )


def level_text(value: Any) -> str:
    """Format a hyperparameter value for a legend; ``none`` if it does not apply.

    Different numbers give different texts.
    """
    if value is None:
        return "none"
    if not isinstance(value, float):
        return str(value)
    return short if float(short := f"{value:g}") == value else repr(value)
