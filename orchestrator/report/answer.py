"""One paragraph that answers the study's question as far as its claims do."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.report.evidence import Judged
from orchestrator.statistics import Claim
from orchestrator.statistics.claim import with_interval

_SENTENCES = {
    ("flatness_tracks_margin", "holds"): (
        "Flat minima and large margins tell the same story here: once the training error is at "
        "most 0.1, the logarithm of the Hessian trace and the mean margin correlate with "
        "r = {number}."
    ),
    ("flatness_tracks_margin", "fails"): (
        "Flatness does not track the margin here as strongly as claimed: where the training "
        "error is at most 0.1, r = {number}, not −0.8 or less."
    ),
    ("flatness_tracks_margin", "unclear"): (
        "Whether flatness tracks the margin remains unclear: r = {number}."
    ),
    ("margin_is_cheaper", "holds"): "A Hessian trace took {number} times as long as the margins.",
    ("margin_is_cheaper", "fails"): (
        "Margins were not ten times cheaper: a Hessian trace took {number} times as long."
    ),
    ("margin_is_cheaper", "unclear"): (
        "Whether margins are ten times cheaper remains unclear: the ratio is {number}."
    ),
    ("large_batch_needs_time", "holds"): (
        "What large batches lack is updates: at the same number of updates, batch size explains "
        "less of the variance of the margin than at the same epoch, by {number}."
    ),
    ("large_batch_needs_time", "fails"): (
        "Large batches do not merely lack updates: at the same number of updates, batch size "
        "explains more of the variance of the margin than at the same epoch, by {number} with "
        "the opposite sign."
    ),
    ("large_batch_needs_time", "unclear"): (
        "Whether large batches merely lack updates remains unclear: the difference of explained "
        "variance is {number}."
    ),
}


def answer(judged: Sequence[Judged]) -> str:
    """The paragraph under the question."""
    if not judged:
        return "The study states no claims; the figures show what was measured."
    return " ".join(_sentence(one.claim) for one in judged)


def _sentence(claim: Claim) -> str:
    digits = 3 if claim.name == "flatness_tracks_margin" else 2
    return _SENTENCES[claim.name, claim.verdict].format(
        number=with_interval(claim.estimate, digits)
    )
