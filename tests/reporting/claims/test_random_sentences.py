"""Sentences about the claims of random studies that a run could have stored."""

import re

import pytest

from orchestrator.reporting.claims.answer import answer, in_words
from orchestrator.reporting.claims.evidence import judge_claims
from orchestrator.reporting.data.open_results import open_source
from tests.reporting.random_results import write_random_results

LINE = 95  # Characters in a line of the page.
WRONG = re.compile(
    r"\bnan\b|\bNone\b|\binf\b|\b1 (networks|trials|other claims)\b|  |\.\.|\(\)|;\."
)


def complaints(text, verdict, estimate):
    """What is wrong with a sentence about a verdict."""
    if found := WRONG.search(text):
        yield f"{found.group()!r} in"
    if not text.endswith("."):
        yield "no full stop in"
    if max(map(len, text.split(". "))) > 2 * LINE:
        yield "more than two lines in"
    if estimate.value is None:
        if estimate.reason not in text or verdict != "unclear":
            yield f"not the reason {estimate.reason!r} in"
    elif estimate.low is not None and not re.search(r"\[\S+, \S+\]", text):
        yield "no interval in"


def check(path, seed):
    write_random_results(path, seed)
    with open_source(path) as source:
        judged = judge_claims(source)
    found = []
    for one in judged:
        text, claim = in_words(one), one.claim
        told = [*complaints(text, claim.verdict, claim.estimate)]
        if claim.verdict == "unclear" and "unclear" not in text:
            told.append("not unclear:")
        found += [f"{what} {text}" for what in told]
    answered = answer(judged)
    if judged:
        first = next((one for one in judged if not one.claim.check), judged[0]).claim
        evidence = [*complaints(answered.evidence, first.verdict, first.estimate)]
        if first.estimate.value is not None and not re.search(r"\d networks?\)", answered.evidence):
            evidence.append("no number of networks in")
        if first.verdict == "unclear" and not answered.lead.startswith(("Unclear", "Check")):
            evidence.append("not unclear:")
        if first.verdict == "fails" and not answered.lead.startswith(("Fails", "Check")):
            evidence.append("not failed:")
        if first.verdict != "holds" and "olds" in answered.lead:
            evidence.append("not holding:")
        found += [f"{what} {answered.text}" for what in evidence]
    assert found == []


@pytest.mark.parametrize("seed", range(1))
def test_a_few_random_studies_are_told_in_sound_sentences(tmp_path, seed):
    check(tmp_path / "r", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 15))
def test_more_random_studies_are_told_in_sound_sentences(tmp_path, seed):
    check(tmp_path / "r", seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(15, 400))
def test_hundreds_of_random_studies_are_told_in_sound_sentences(tmp_path, seed):
    check(tmp_path / "r", seed)
