"""Judging the study's claims on its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.reporting.claims.judge import JUDGES
from orchestrator.reporting.claims.registration import stated_after_results
from orchestrator.reporting.claims.stated_claims import SYMBOLS, judge_stated
from orchestrator.reporting.claims.verdict_scale import Scale
from orchestrator.reporting.data.conditions import Conditions, read_conditions
from orchestrator.reporting.data.open_results import Source, claims_of, open_source
from orchestrator.reporting.data.queries import Query
from orchestrator.results import Location, again_if_compacted
from orchestrator.statistics import Claim, holm
from orchestrator.statistics.claim import as_given, counted
from orchestrator.study.claim_options import BuiltInClaim, StatedClaim

WRONG = 0.05
"""Largest share of wrong verdicts in simulated studies."""


@dataclass(frozen=True)
class Judged:
    """A claim with its evidence.

    Attributes:
        claim: The claim and its verdict.
        query: Query behind the claim.
        figure: Key of the figure that shows the claim; ``fragility`` is the audit's table.
        short: The claim in a few words.
        symbol: Form of its number, ``r = {}``.
        scale: Scale on which its number is compared with the threshold.
        holm: p-value of the claim, adjusted by Holm's method over all claims of the study except
            checks; None for a check or without an interval.
        late: Sentence if the claim was stated after the first results, or "".
    """

    claim: Claim
    query: Query
    figure: str
    short: str = ""
    symbol: str = "{}"
    scale: Scale = "linear"
    holm: float | None = None
    late: str = ""


def stated_figure(name: str) -> str:
    """Return the key of the figure of a claim that the study states itself."""
    return f"claim-{name}"


@again_if_compacted
def check_claims(results: str | Location, *, everything: bool = False) -> list[Claim]:
    """Judge the claims of the study.

    Args:
        results: The results folder; the study need not be finished.
        everything: As for :func:`~orchestrator.reporting.write_report`.

    Returns:
        One claim per entry of the study's ``claims``, in that order.

    Raises:
        ResultsError: If the path has no results.
    """
    with open_source(results, everything=everything) as source:
        return [judged.claim for judged in judge_claims(source)]


def judge_claims(source: Source) -> list[Judged]:
    """Judge the claims of the study, in its order."""
    claims = claims_of(source)
    if not claims:
        return []
    conditions = read_conditions(source)
    return _adjusted(
        [
            replace(_judge(source, claim, conditions), late=late)
            for claim, late in zip(claims, stated_after_results(source), strict=True)
        ]
    )


def expected_wrong(judged: Sequence[Judged]) -> str:
    """Describe how many verdicts are expected to be wrong; "" without a verdict."""
    findings = [one.claim for one in judged if not one.claim.check]
    verdicts = sum(claim.verdict != "unclear" for claim in findings)
    if not verdicts:
        return ""
    here = sum(c.verdict != "unclear" and c.scope == "in this grid" for c in findings)
    who = ("It" if verdicts == 1 else "All") if here == verdicts else f"{here} of them"
    alone = f" {who} appl{'ies' if here == 1 else 'y'} to this grid only, with other seeds."
    return (
        f"{counted(verdicts, 'verdict')} on {counted(len(findings), 'claim')}: the expected number "
        f"of wrong verdicts is at most {WRONG * verdicts:.2g}, even if every truth lies exactly at "
        "its threshold (see Verdict rates under Methods). Each claim also gives Holm’s p-value, "
        f"which bounds the chance of any wrong verdict on this page.{alone if here else ''}"
    )


def _adjusted(judged: list[Judged]) -> list[Judged]:
    """Add p-values adjusted by Holm's method over the claims of the study file."""
    p_values = [
        np.nan if one.claim.check or one.claim.p_value is None else one.claim.p_value
        for one in judged
    ]
    return [
        one if np.isnan(p) else replace(one, holm=float(p))
        for one, p in zip(judged, holm(p_values), strict=True)
    ]


def _judge(source: Source, claim: BuiltInClaim | StatedClaim, conditions: Conditions) -> Judged:
    if isinstance(claim, StatedClaim):
        judged, query = judge_stated(source, claim, conditions)
        symbol, scale = SYMBOLS[claim.statistic]
        return Judged(judged, query, stated_figure(claim.name), judged.statement, symbol, scale)
    judge = JUDGES[claim.name]
    judged, query = judge.judge_results(source, claim, conditions)
    symbol = judge.symbol or judge.number
    short = judge.short.format(threshold=as_given(judged.threshold))
    return Judged(judged, query, judge.figure, short, symbol, judge.scale)
