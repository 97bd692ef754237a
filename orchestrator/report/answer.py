"""One paragraph that answers the study's question as far as its claims do."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.report.evidence import Judged
from orchestrator.statistics import Claim
from orchestrator.statistics.claim import as_given, with_interval

_SENTENCES = {
    ("flatness_tracks_margin", "holds"): (
        "Flat minima and large margins tell the same story here: once the training error is at "
        "most 0.1, the logarithm of the Hessian trace and the mean margin correlate with {number}."
    ),
    ("flatness_tracks_margin", "fails"): (
        "Flatness does not track the margin here as strongly as claimed: where the training "
        "error is at most 0.1, {number}, not {threshold} or less."
    ),
    ("flatness_tracks_margin", "unclear"): (
        "Whether flatness tracks the margin remains unclear: {number}."
    ),
    ("margin_is_cheaper", "holds"): (
        "Margins are far cheaper than flatness: {number} times the seconds for a Hessian trace."
    ),
    ("margin_is_cheaper", "fails"): (
        "Margins were not {threshold} times cheaper: {number} times the seconds for a Hessian "
        "trace."
    ),
    ("margin_is_cheaper", "unclear"): (
        "Whether margins are {threshold} times cheaper than a Hessian trace remains unclear: "
        "{number}."
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
    ("margin_predicts_gap_at_least_as_well", "holds"): (
        "By the size of τ, whatever its sign, the margin ranks networks by their generalization "
        "gaps at least as well as the Hessian trace does ({number})."
    ),
    ("margin_predicts_gap_at_least_as_well", "fails"): (
        "The Hessian trace ranks networks by a generalization gap better than the margin does "
        "({number})."
    ),
    ("margin_predicts_gap_at_least_as_well", "unclear"): (
        "Whether the margin ranks networks by their gaps as well as the Hessian trace remains "
        "unclear: {number}."
    ),
    ("flatness_is_an_epiphenomenon", "holds"): (
        "Flatness is an epiphenomenon of how one trains: across losses, optimizers and "
        "regularization it tracks the margin less well than in the usual training ({number})."
    ),
    ("flatness_is_an_epiphenomenon", "fails"): (
        "Flatness tracks the margin across losses, optimizers and regularization no less well "
        "than in the usual training alone ({number})."
    ),
    ("flatness_is_an_epiphenomenon", "unclear"): (
        "Whether flatness tracks the margin only in the usual training remains unclear: {number}."
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
_VERDICTS = {
    "holds": "It holds that",
    "fails": "It does not hold that",
    "unclear": "It remains unclear whether",
}
_NUMBERS = {
    "flatness_tracks_margin": ("r = {}", 3),
    "margin_is_cheaper": ("{}", 2),
    "flatness_depends_on_parametrization": ("{}", 2),
    "margin_predicts_gap_at_least_as_well": ("difference of |τ| {}, claimed {criterion}", 2),
    "flatness_is_an_epiphenomenon": ("|r| weakens by {}", 2),
    "large_batch_needs_time": ("difference of shares {}", 2),
}


def answer(judged: Sequence[Judged]) -> str:
    """The paragraph under the question."""
    if not judged:
        return "The study states no claims; the figures show what was measured."
    return " ".join(_sentence(one.claim) for one in judged)


def _sentence(claim: Claim) -> str:
    if claim.name not in _NUMBERS:  # Stated by the study itself.
        number = with_interval(claim.estimate, 2)
        return f"{_VERDICTS[claim.verdict]} “{claim.statement}” ({claim.statistic}: {number})."
    form, digits = _NUMBERS[claim.name]
    if claim.estimate.value is None:
        number = claim.estimate.reason
    else:
        interval = with_interval(claim.estimate, digits)
        number = form.format(interval, criterion=claim.criterion)
    sentence = _SENTENCES[claim.name, claim.verdict]
    return sentence.format(number=number, threshold=as_given(claim.threshold))
