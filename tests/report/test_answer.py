import itertools

import pytest

from orchestrator.report.answer import answer
from orchestrator.report.evidence import Judged
from orchestrator.report.queries import Query
from orchestrator.statistics import Claim, Estimate

NAMES = ("flatness_tracks_margin", "margin_is_cheaper", "large_batch_needs_time")


def judged(name, verdict, estimate):
    return Judged(Claim(name, "", "", estimate, 0, verdict, ""), Query("", "", ""), "")


@pytest.mark.parametrize(
    ("name", "verdict"), list(itertools.product(NAMES, ("holds", "fails", "unclear")))
)
def test_every_verdict_has_a_sentence_with_its_number(name, verdict):
    estimate = Estimate(-0.87654, -0.95, -0.81, 0.95, 30, 6, 0)
    sentence = answer([judged(name, verdict, estimate)])
    assert "−0.87" in sentence or "−0.88" in sentence
    assert "[−0.95" in sentence
    assert sentence.endswith(".")


def test_nothing_known_gives_the_reason():
    nothing = Estimate(None, None, None, 0.95, 0, 0, 0, "no finite value")
    sentence = answer([judged("margin_is_cheaper", "unclear", nothing)])
    assert sentence.endswith("remains unclear: no finite value.")


def test_no_claims():
    assert "no claims" in answer([])
