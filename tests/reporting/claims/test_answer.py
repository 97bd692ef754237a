import itertools
from dataclasses import replace

import pytest

from orchestrator.reporting.claims.answer import answer, in_words, number_of
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
    sentence = in_words(judged(name, verdict, estimate).claim)
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
def test_the_sentence_states_the_threshold_of_the_study(name, verdict, told):
    estimate = Estimate(0.5, 0.4, 0.6, 0.95, 30, 6, 0)
    claim = Claim(name, "", "", estimate, -0.9, verdict, "")
    assert told in in_words(claim)


def test_a_missing_estimate_gives_its_reason():
    nothing = Estimate(None, None, None, 0.95, 0, 0, 0, "no finite value")
    sentence = in_words(judged("margin_is_cheaper", "unclear", nothing).claim)
    assert sentence.endswith("remains unclear: no finite value.")


def test_a_study_without_claims_is_answered_as_such():
    assert "no claims" in answer([]).text


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
    sentence = in_words(claim)
    assert sentence.startswith(begin)
    assert "“Wide is good” (Mean of x: 0.50 [0.40, 0.60])" in sentence


def test_the_sentence_states_the_scope_of_a_claim():
    estimate = Estimate(-0.9, -0.95, -0.85, 0.95, 30, 6, 0)
    for name, text in (("flatness_tracks_margin", "tracks the margin "), ("mine", "claim holds ")):
        claim = Claim(name, "", "", estimate, -0.8, "holds", "", scope="for conditions like these")
        assert f"{text}for conditions like these" in in_words(claim)


def test_what_a_claim_does_not_survive_is_stated_first():
    estimate = Estimate(-0.9, -0.95, -0.85, 0.95, 30, 6, 0)
    against = Beside(
        "with training loss held fixed", Estimate(0.57, 0.2, 0.8, 0.95, 30, 6, 0), holding=False
    )
    claim = Claim(
        *("flatness_tracks_margin", "", "", estimate, -0.8, "holds", ""), beside=(against,)
    )
    told = in_words(claim)
    assert told.startswith(
        "With training loss held fixed, the estimate is 0.57 [0.20, 0.80], so the following holds "
        "as stated only. Flatness tracks"
    )


LOSS = Beside(
    "with training loss and batch size held fixed",
    Estimate(0.57, 0.2, 0.8, 0.95, 30, 6, 0),
    holding=False,
    brief="with training loss and batch size held fixed",
    fixed=("training loss", "batch size"),
)
LEARNED = Beside(
    "without networks that did not learn", Estimate(-0.4, -0.6, 0.1, 0.95, 20, 4, 0), holding=False
)


def stated(verdict="holds", beside=(), *, name="mine", check=False, value=-0.9):
    estimate = Estimate(value, value - 0.05, value + 0.05, 0.95, 30, 6, 0)
    claim = Claim(
        *(name, "Wide is good", "r", estimate, -0.8, verdict, ""),
        side="below",
        beside=beside,
        check=check,
    )
    return Judged(claim, Query("", "", ""), "", "Wide is good", "r = {}", "correlation")


@pytest.mark.parametrize(
    ("verdict", "beside", "lead"),
    [
        ("holds", (), "Holds in this grid:"),
        ("fails", (LOSS,), "Fails in this grid:"),
        ("unclear", (LOSS,), "Unclear:"),
        ("holds", (LOSS,), "Not beyond what training loss and batch size explain:"),
        ("holds", (LEARNED,), "Holds in this grid, but not without networks that did not learn:"),
        ("holds", (LOSS, LEARNED), "Not beyond what training loss and batch size explain:"),
        ("holds", (replace(LOSS, holding=True),), "Holds in this grid:"),
    ],
)
def test_the_lead_says_what_the_first_claim_does_not_survive(verdict, beside, lead):
    told = answer([stated(verdict, beside)])
    assert told.lead == lead
    assert told.others == ""


def test_one_confounder_explains_in_the_singular():
    one = replace(LOSS, fixed=("training loss",), brief="with training loss held fixed")
    assert answer([stated(beside=(one,))]).lead == "Not beyond what training loss explains:"


def test_the_evidence_has_both_intervals_and_the_number_of_networks():
    assert answer([stated(beside=(LOSS, replace(LEARNED, holding=True)))]).evidence == (
        "Wide is good, r = −0.90 [−0.95, −0.85]; with training loss and batch size held fixed "
        "r = 0.57 [0.20, 0.80] (6 networks)."
    )


def test_a_first_claim_without_a_value_gives_its_reason():
    nothing = Estimate(None, None, None, 0.95, 0, 0, 0, "no finite value")
    first = stated("unclear")
    first = replace(first, claim=replace(first.claim, estimate=nothing))
    told = answer([first])
    assert (told.lead, told.evidence) == ("Unclear:", "Wide is good; no finite value.")


def test_a_check_is_no_answer_while_there_is_a_claim():
    check, claim = stated(check=True), stated("fails")
    assert answer([check, claim]).lead == "Fails in this grid:"
    assert answer([check]).lead == "Check passed:"


def test_other_claims_are_counted_by_verdict():
    others = [stated(), stated(beside=(LOSS,)), stated("fails"), stated("unclear", value=0.1)]
    assert answer([stated(), *others]).others == (
        "Of 4 other claims, 2 hold, 1 as stated only; 1 fails; 1 is unclear."
    )


def test_the_number_has_the_symbol_of_its_statistic():
    assert number_of(stated()) == "r = −0.90 [−0.95, −0.85]"
