"""One paragraph that answers the study's question as far as its claims do."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.report.evidence import Judged
from orchestrator.statistics import Claim
from orchestrator.statistics.claim import with_interval

_SENTENCES = {
    ("flatness_tracks_margin", "holds"): (
        "Flat minima and large margins tell the same story here: once the training error is at "
        "most 0.1, the logarithm of the Hessian trace and the mean margin correlate with {number}."
    ),
    ("flatness_tracks_margin", "fails"): (
        "Flatness does not track the margin here as strongly as claimed: where the training "
        "error is at most 0.1, {number}, not −0.8 or less."
    ),
    ("flatness_tracks_margin", "unclear"): (
        "Whether flatness tracks the margin remains unclear: {number}."
    ),
    ("margin_is_cheaper", "holds"): (
        "Margins are far cheaper than flatness: {number} times the seconds for a Hessian trace."
    ),
    ("margin_is_cheaper", "fails"): (
        "Margins were not ten times cheaper: {number} times the seconds for a Hessian trace."
    ),
    ("margin_is_cheaper", "unclear"): (
        "Whether margins are ten times cheaper than a Hessian trace remains unclear: {number}."
    ),
    ("flatness_depends_on_parametrization", "holds"): (
        "Flatness depends on the parametrization: with the function left as it was, the Hessian "
        "trace changed by {number} of itself, and the margin not at all."
    ),
    ("flatness_depends_on_parametrization", "fails"): (
        "That flatness alone depends on the parametrization was not found here: the Hessian "
        "trace changed by {number} of itself."
    ),
    ("flatness_depends_on_parametrization", "unclear"): (
        "Whether flatness depends on the parametrization remains unclear: {number}."
    ),
    ("large_batch_needs_time", "holds"): (
        "What large batches lack is updates: at the same number of updates, batch size explains "
        "less of the variance of the margin than at the same epoch ({number})."
    ),
    ("large_batch_needs_time", "fails"): (
        "Large batches do not merely lack updates: at the same number of updates, batch size "
        "explains more of the variance of the margin than at the same epoch ({number})."
    ),
    ("large_batch_needs_time", "unclear"): (
        "Whether large batches merely lack updates remains unclear: {number}."
    ),
}
_NUMBERS = {
    "flatness_tracks_margin": ("r = {}", 3),
    "margin_is_cheaper": ("{}", 2),
    "flatness_depends_on_parametrization": ("{}", 2),
    "large_batch_needs_time": ("difference of shares {}", 2),
}


def answer(judged: Sequence[Judged]) -> str:
    """The paragraph under the question."""
    if not judged:
        return "The study states no claims; the figures show what was measured."
    return " ".join(_sentence(one.claim) for one in judged)


def _sentence(claim: Claim) -> str:
    form, digits = _NUMBERS[claim.name]
    if claim.estimate.value is None:
        number = claim.estimate.reason
    else:
        number = form.format(with_interval(claim.estimate, digits))
    return _SENTENCES[claim.name, claim.verdict].format(number=number)
