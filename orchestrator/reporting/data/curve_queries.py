"""The choice of the curves that a figure draws, and SQL for the networks that have them.

Figures aggregate curves in SQL, so they do not grow with the study.
"""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query, identifier, quote
from orchestrator.statistics.claim import counted


@dataclass(frozen=True)
class Chosen:
    """The curves that a figure draws, chosen among requests with different parameters.

    Attributes:
        curve: Name of the curve.
        request: Request with results on the most final networks.
        variant: Variant of the curves.
        remark: Sentences on curves that are not drawn, or "".
        query: Query that chose them.
    """

    curve: str
    request: str
    variant: str
    remark: str
    query: Query

    @property
    def condition(self) -> str:
        """SQL condition that selects the rows of the curves."""
        return (
            f"curve = {quote(self.curve)} AND request = {quote(self.request)} "
            f"AND variant = {quote(self.variant)}"
        )


def choose_curves(source: Source, curve: str, variant: str | None = None) -> Chosen | None:
    """Choose the curves of final networks to draw; return None if none exist.

    Args:
        source: The results.
        curve: Name of the curve.
        variant: Variant of the curve; any by default.
    """
    only = "" if variant is None else f" AND variant = {quote(variant)}"
    query = Query(
        f"{curve}_requests",
        f"number of final networks with {curve}, per request",
        f"""
        SELECT request, variant, count(*) AS networks,
            count(*) FILTER (status <> 'ok') AS nonfinite
        FROM curves SEMI JOIN final USING (checkpoint_id)
        WHERE curve = {quote(curve)}{only}
        GROUP BY request, variant ORDER BY networks DESC, request, variant
        """,
    )
    rows = source.rows(query).tuples()
    if not rows:
        return None
    request, found, _, nonfinite = rows[0]
    sentences = [
        f"Not drawn: non-finite values of {counted(nonfinite, 'network')}." if nonfinite else "",
        f"Of {len(rows)} requests, only {request} is drawn." if len(rows) > 1 else "",
    ]
    remark = " ".join(sentence for sentence in sentences if sentence)
    return Chosen(curve, request, found, remark, query)


def level_sql(hue: Hue | None) -> str:
    """Return SQL for the level of a snapshot's network."""
    return identifier(hue.column) if hue else "'all'"


def networks_sql(hue: Hue | None, view: str = "final") -> str:
    """Return SQL for a view of snapshots without the study's own columns, whose names can clash."""
    return f"""(
                SELECT checkpoint_id, trial_id, epoch, train_loss, status AS trial_status,
                    {level_sql(hue)} AS level
                FROM {view}
            )"""
