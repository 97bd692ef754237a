"""A paragraph that answers the study's question with its claims."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.claims.judge import JUDGES
from orchestrator.statistics import Claim
from orchestrator.statistics.claim import with_interval

_VERDICTS = {
    "holds": "This claim holds {scope}:",
    "fails": "This claim fails {scope}:",
    "unclear": "This claim remains unclear:",
}


def answer(judged: Sequence[Judged]) -> str:
    """Return the paragraph below the question."""
    if not judged:
        return "The study states no claims; the figures show the measurements."
    return " ".join(_sentence(one.claim) for one in judged)


def _sentence(claim: Claim) -> str:
    """Describe a verdict; estimates that contradict a claim that holds as stated come first."""
    told = _verdict(claim)
    if not claim.against:
        return told
    against = "; ".join(
        f"{one.what}, the estimate is {with_interval(one.estimate, 2)}" for one in claim.against
    )
    return f"{against[:1].upper()}{against[1:]}, so the following holds as stated only. {told}"


def _verdict(claim: Claim) -> str:
    if claim.name in JUDGES:
        return JUDGES[claim.name].sentence(claim)
    number = with_interval(claim.estimate, 2)
    verdict = _VERDICTS[claim.verdict].format(scope=claim.scope)
    return f"{verdict} “{claim.statement}” ({claim.statistic}: {number})."
