"""The order of the report: which figure stands where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.figures import Figure

HEADLINE = "flatness-margin"
"""The figure beside the verdicts, if it can be drawn."""
_LIMITS = "coverage"


@dataclass(frozen=True)
class Arrangement:
    """Figures by the section that shows them; each stands in one.

    Attributes:
        headline: Figure beside the verdicts; None if it cannot be drawn.
        of_claims: Name of a claim → its figure, for the first claim that a figure shows.
        others: Figures that no claim refers to.
        limits: Figures on what is missing.
    """

    headline: Figure | None
    of_claims: Mapping[str, Figure]
    others: Sequence[Figure]
    limits: Sequence[Figure]

    @property
    def in_order(self) -> list[Figure]:
        """All figures as a reader meets them, which numbers them."""
        first = [self.headline] if self.headline else []
        return [*first, *self.of_claims.values(), *self.others, *self.limits]


def arrange(figures: Sequence[Figure], claims: Sequence[Judged]) -> Arrangement:
    """Assign each figure that is shown to its section."""
    left = {figure.key: figure for figure in figures if figure.shown}
    headline = left.pop(HEADLINE) if HEADLINE in left and left[HEADLINE].chart else None
    of_claims = {one.claim.name: left.pop(one.figure) for one in claims if one.figure in left}
    limits = [left.pop(_LIMITS)] if _LIMITS in left else []
    return Arrangement(headline, of_claims, list(left.values()), limits)
