"""The sentence that answers a study's question with its first claim, and a count of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.claims.judge import JUDGES
from orchestrator.statistics import Claim
from orchestrator.statistics.claim import Beside, counted, with_interval

_NOUNS = {"holds": "holds", "fails": "fails", "unclear": "is unclear"}
_PLURALS = {"holds": "hold", "fails": "fail", "unclear": "are unclear"}


@dataclass(frozen=True)
class Answer:
    """What a reader of two lines takes away.

    Attributes:
        lead: The verdict on the first claim, and what it does not survive; "" without claims.
        evidence: The claim with its number, its interval, and the number of networks behind it.
        others: Verdicts on the other claims, counted; "" without others.
    """

    lead: str
    evidence: str
    others: str = ""

    @property
    def text(self) -> str:
        """The whole answer as one paragraph."""
        return " ".join(filter(None, (self.lead, self.evidence, self.others)))


def answer(judged: Sequence[Judged]) -> Answer:
    """Answer the question of a study: its first claim, or the first that is no mere check."""
    if not judged:
        return Answer("", "The study states no claims; the figures show the measurements.")
    first = next((one for one in judged if not one.claim.check), judged[0])
    others = [one.claim for one in judged if one is not first]
    return Answer(_lead(first.claim), _evidence(first), _counted(others))


def in_words(claim: Claim) -> str:
    """Describe a verdict in one or two sentences; contradicting estimates come first."""
    told = _verdict(claim)
    if not claim.against:
        return told
    against = "; ".join(
        f"{one.what}, the estimate is {with_interval(one.estimate, 2)}" for one in claim.against
    )
    return f"{against[:1].upper()}{against[1:]}, so the following holds as stated only. {told}"


def _lead(claim: Claim) -> str:
    if claim.check:
        return f"{claim.reads.capitalize()}:"
    if claim.verdict == "unclear":
        return "Unclear:"
    if claim.verdict == "fails":
        return f"Fails {claim.scope}:"
    fixed = [one for one in claim.against if one.fixed]
    if fixed:
        names = fixed[0].brief.removeprefix("with ").removesuffix(" held fixed")
        several = len(fixed[0].fixed) > 1
        return f"Not beyond what {names} explain{'' if several else 's'}:"
    if claim.against:
        return f"Holds {claim.scope}, but not {claim.against[0].what}:"
    return f"Holds {claim.scope}:"


def _evidence(judged: Judged) -> str:
    claim = judged.claim
    if claim.estimate.value is None:
        return f"{judged.short}; {claim.estimate.reason}."
    parts = [f"{judged.short}, {number_of(judged)}"]
    parts += [
        f"{one.brief or one.what} {judged.symbol.format(with_interval(one.estimate, 2))}"
        for one in _told(claim)
    ]
    return f"{'; '.join(parts)} ({counted(claim.estimate.n_groups, 'network')})."


def number_of(judged: Judged) -> str:
    """Return the estimate with its interval, ``r = −0.94 [−0.97, −0.87]``."""
    return judged.symbol.format(with_interval(judged.claim.estimate, 2))


def _told(claim: Claim) -> list[Beside]:
    """Return the estimates to tell with the first claim: with all held fixed, or against it."""
    return [
        one
        for one in claim.beside
        if one.estimate.value is not None and (one.fixed or one in claim.against)
    ]


def _counted(claims: Sequence[Claim]) -> str:
    parts = []
    for verdict in ("holds", "fails", "unclear"):
        of_verdict = [claim for claim in claims if claim.verdict == verdict]
        if of_verdict:
            only = sum(bool(claim.against) for claim in of_verdict)
            words = (_NOUNS if len(of_verdict) == 1 else _PLURALS)[verdict]
            stated = f", {only} as stated only" if only else ""
            parts.append(f"{len(of_verdict)} {words}{stated}")
    if not parts:
        return ""
    return f"Of {counted(len(claims), 'other claim')}, {'; '.join(parts)}."


def _verdict(claim: Claim) -> str:
    if claim.name in JUDGES:
        return JUDGES[claim.name].sentence(claim)
    number = with_interval(claim.estimate, 2)
    verdict = _VERDICTS[claim.verdict].format(scope=claim.scope)
    return f"{verdict} “{claim.statement}” ({claim.statistic}: {number})."


_VERDICTS = {
    "holds": "This claim holds {scope}:",
    "fails": "This claim fails {scope}:",
    "unclear": "This claim remains unclear:",
}
