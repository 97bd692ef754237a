import itertools

import pytest

from orchestrator.reporting.claims.answer import answer
from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics import Claim, Estimate
from orchestrator.statistics.claim import Beside
from orchestrator.study.claim_options import CLAIM_NEEDS


def judged(name, verdict, estimate):
    return Judged(Claim(name, "", "", estimate, 0, verdict, ""), Query("", "", ""), "")


@pytest.mark.parametrize(
    ("name", "verdict"), list(itertools.product(CLAIM_NEEDS, ("holds", "fails", "unclear")))
)
def test_every_verdict_has_a_sentence_with_its_number(name, verdict):
    estimate = Estimate(-0.87654, -0.95, -0.81, 0.95, 30, 6, 0)
    sentence = answer([judged(name, verdict, estimate)])
    assert "−0.87" in sentence or "−0.88" in sentence
    assert "[−0.95" in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("name", "verdict", "told"),
    [
        ("flatness_tracks_margin", "fails", "not −0.9 or less"),
        ("margin_is_cheaper", "fails", "not −0.9 times cheaper"),
        ("margin_is_cheaper", "unclear", "Whether margins are −0.9 times cheaper"),
        ("margin_predicts_gap_at_least_as_well", "holds", "claimed above −0.9"),
    ],
)
def test_the_answer_states_the_threshold_of_the_study(name, verdict, told):
    estimate = Estimate(0.5, 0.4, 0.6, 0.95, 30, 6, 0)
    claim = Claim(name, "", "", estimate, -0.9, verdict, "")
    assert told in answer([Judged(claim, Query("", "", ""), "")])


def test_a_missing_estimate_gives_its_reason():
    nothing = Estimate(None, None, None, 0.95, 0, 0, 0, "no finite value")
    sentence = answer([judged("margin_is_cheaper", "unclear", nothing)])
    assert sentence.endswith("remains unclear: no finite value.")


def test_a_study_without_claims_is_answered_as_such():
    assert "no claims" in answer([])


@pytest.mark.parametrize(
    ("verdict", "begin"),
    [
        ("holds", "This claim holds in this grid:"),
        ("fails", "This claim fails in this grid:"),
        ("unclear", "This claim remains unclear:"),
    ],
)
def test_claims_stated_by_the_study_are_quoted(verdict, begin):
    estimate = Estimate(0.5, 0.4, 0.6, 0.95, 30, 6, 0)
    claim = Claim("mine", "Wide is good", "Mean of x", estimate, 0, verdict, "")
    sentence = answer([Judged(claim, Query("", "", ""), "")])
    assert sentence.startswith(begin)
    assert "“Wide is good” (Mean of x: 0.50 [0.40, 0.60])" in sentence


def test_the_answer_states_the_scope_of_a_claim():
    estimate = Estimate(-0.9, -0.95, -0.85, 0.95, 30, 6, 0)
    for name, text in (("flatness_tracks_margin", "tracks the margin "), ("mine", "claim holds ")):
        claim = Claim(name, "", "", estimate, -0.8, "holds", "", scope="for conditions like these")
        assert f"{text}for conditions like these" in answer([Judged(claim, Query("", "", ""), "")])


def test_what_a_claim_does_not_survive_is_stated_first():
    estimate = Estimate(-0.9, -0.95, -0.85, 0.95, 30, 6, 0)
    against = Beside(
        "with training loss held fixed", Estimate(0.57, 0.2, 0.8, 0.95, 30, 6, 0), holding=False
    )
    claim = Claim(
        *("flatness_tracks_margin", "", "", estimate, -0.8, "holds", ""), beside=(against,)
    )
    told = answer([Judged(claim, Query("", "", ""), "")])
    assert told.startswith(
        "With training loss held fixed, the estimate is 0.57 [0.20, 0.80], so the following holds "
        "as stated only. Flatness tracks"
    )
