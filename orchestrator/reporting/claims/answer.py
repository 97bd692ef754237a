"""A paragraph that answers the study's question with its claims."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.reporting.claims.evidence import Judged
from orchestrator.statistics import Claim
from orchestrator.statistics.claim import as_given, with_interval

_SENTENCES = {
    ("flatness_tracks_margin", "holds"): (
        "Flatness tracks the margin {scope}: where the training error is at most 0.1, the "
        "logarithm of the Hessian trace and the mean margin correlate with {number}."
    ),
    ("flatness_tracks_margin", "fails"): (
        "Flatness does not track the margin {scope} as strongly as claimed: where the training "
        "error is at most 0.1, {number}, not {threshold} or less."
    ),
    ("flatness_tracks_margin", "unclear"): (
        "Whether flatness tracks the margin remains unclear: {number}."
    ),
    ("margin_is_cheaper", "holds"): (
        "Margins are far cheaper than flatness {scope}: a Hessian trace takes {number} times as "
        "many seconds."
    ),
    ("margin_is_cheaper", "fails"): (
        "Margins are not {threshold} times cheaper {scope}: a Hessian trace takes {number} times "
        "as many seconds."
    ),
    ("margin_is_cheaper", "unclear"): (
        "Whether margins are {threshold} times cheaper than a Hessian trace remains unclear: "
        "{number}."
    ),
    ("flatness_depends_on_parametrization", "holds"): (
        "The reparametrization check passes: with the function unchanged, the Hessian trace has "
        "a relative change of {number}, and the margin does not change."
    ),
    ("flatness_depends_on_parametrization", "fails"): (
        "The reparametrization check fails: the Hessian trace has a relative change of {number}, "
        "or a margin changed too."
    ),
    ("flatness_depends_on_parametrization", "unclear"): (
        "The reparametrization check remains unclear: {number}."
    ),
    ("margin_predicts_gap_at_least_as_well", "holds"): (
        "Larger margins go with smaller generalization gaps {scope}, at least as closely as "
        "flatter minima do ({number})."
    ),
    ("margin_predicts_gap_at_least_as_well", "fails"): (
        "The margin does not rank networks by a generalization gap at least as well as the "
        "Hessian trace {scope}: it ranks worse, or larger margins go with larger gaps ({number})."
    ),
    ("margin_predicts_gap_at_least_as_well", "unclear"): (
        "Whether the margin ranks networks by their gaps as well as the Hessian trace remains "
        "unclear: {number}."
    ),
    ("flatness_is_an_epiphenomenon", "holds"): (
        "Flatness is an epiphenomenon of the way of training {scope}: under another loss, "
        "optimizer or regularization it follows the margin differently than under the usual "
        "training ({number})."
    ),
    ("flatness_is_an_epiphenomenon", "fails"): (
        "Flatness follows the margin {scope} under other losses, optimizers and regularization "
        "much as under the usual training ({number})."
    ),
    ("flatness_is_an_epiphenomenon", "unclear"): (
        "Whether flatness follows the margin only under the usual training remains unclear: "
        "{number}."
    ),
    ("large_batch_needs_time", "holds"): (
        "Large batches merely lack updates {scope}: after equally many updates their margins are "
        "{number} times those of small batches, and after equally many epochs they are smaller."
    ),
    ("large_batch_needs_time", "fails"): (
        "Large batches do not merely lack updates {scope}: after equally many updates their "
        "margins are {number} times those of small batches."
    ),
    ("large_batch_needs_time", "unclear"): (
        "Whether large batches merely lack updates remains unclear: {number}."
    ),
}
_VERDICTS = {
    "holds": "This claim holds {scope}:",
    "fails": "This claim fails {scope}:",
    "unclear": "This claim remains unclear:",
}
_NUMBERS = {
    "flatness_tracks_margin": ("r = {}", 3),
    "margin_is_cheaper": ("{}", 2),
    "flatness_depends_on_parametrization": ("{}", 2),
    "margin_predicts_gap_at_least_as_well": ("difference of τ {}, claimed {criterion}", 2),
    "flatness_is_an_epiphenomenon": ("slope {} times the usual one", 2),
    "large_batch_needs_time": ("{}", 2),
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
    if claim.name not in _NUMBERS:  # Stated by the study itself.
        number = with_interval(claim.estimate, 2)
        verdict = _VERDICTS[claim.verdict].format(scope=claim.scope)
        return f"{verdict} “{claim.statement}” ({claim.statistic}: {number})."
    form, digits = _NUMBERS[claim.name]
    if claim.estimate.value is None:
        number = claim.estimate.reason
    else:
        interval = with_interval(claim.estimate, digits)
        number = form.format(interval, criterion=claim.criterion)
    sentence = _SENTENCES[claim.name, claim.verdict]
    return sentence.format(number=number, threshold=as_given(claim.threshold), scope=claim.scope)
