import numpy as np
import pytest

from orchestrator.statistics.claim import (
    Beside,
    Claim,
    any_of,
    counted,
    decide,
    judge,
    left_out,
    lies,
    number,
    percent,
    with_interval,
)
from orchestrator.statistics.intervals.estimate import Estimate


def estimate(value, low, high, reason=""):
    return Estimate(value, low, high, 0.95, 20, 5, 0, reason)


@pytest.mark.parametrize(
    ("low", "high", "below", "verdict"),
    [
        (-0.95, -0.85, True, "holds"),
        (-0.95, -0.8, True, "holds"),
        (-0.7, -0.5, True, "fails"),
        (-0.9, -0.7, True, "unclear"),
        (None, None, True, "unclear"),
        (-0.7, -0.5, False, "holds"),
        (-0.95, -0.85, False, "fails"),
        (-0.9, -0.7, False, "unclear"),
    ],
)
def test_the_whole_interval_decides_the_verdict(low, high, below, verdict):
    assert decide(estimate(-0.8, low, high), -0.8, below=below) == verdict


def test_numbers_are_formatted_as_text():
    assert with_interval(estimate(-0.9421, -0.9612, -0.9149)) == "−0.942 [−0.961, −0.915]"
    assert with_interval(estimate(61.23, 48.9, 1234.0)) == "61.2 [48.9, 1.23e+03]"
    assert with_interval(estimate(0.5, None, None)) == "0.500 (no interval)"
    assert with_interval(estimate(None, None, None, "a column is constant")) == (
        "unknown (a column is constant)"
    )
    assert percent(0.2345) == "23.4 %"
    assert number(-0.5, 1) == "−0.5"
    assert number(-0.001, 2) == "0.00"
    assert (counted(1, "trial"), counted(1200, "trial")) == ("1 trial", "1,200 trials")


def test_rows_left_out_are_counted_with_their_reason():
    assert left_out(("not positive", np.array([True, True])), ("missing", 0)) == (
        "Left out: 2 not positive."
    )
    assert left_out(("missing", 0)) == ""


def claim(verdict, **more):
    return Claim("c", "", "", estimate(-0.9, -0.95, -0.85), -0.8, verdict, "", **more)


def test_a_verdict_states_its_scope_and_what_it_does_not_survive():
    beside = tuple(
        Beside(what, estimate(value, None, None), holding)
        for what, value, holding in (("with x held fixed", 0.5, False), ("without y", None, None))
    )
    assert claim("holds").reads == "holds in this grid"
    assert claim("holds", beside=beside).reads == "holds in this grid, as stated only"
    assert claim("holds", beside=beside).against == beside[:1]
    assert claim("fails", beside=beside, scope="for conditions like these").reads == (
        "fails for conditions like these"
    )
    assert claim("holds", check=True).reads == "check passed"
    assert beside[0].sentence == "With x held fixed, the estimate is 0.500 (no interval)."
    assert beside[1].sentence.startswith("Without y, no estimate is possible")


def test_a_criterion_is_worded_from_its_side_and_threshold():
    assert claim("holds", side="below").criterion == "below −0.8"
    assert claim("holds").criterion == "above −0.8"
    assert claim("holds", side="between", upper=1.2).criterion == "between −0.8 and 1.2"
    assert claim("holds", side="outside", upper=2.0).criterion == "outside −0.8 to 2"


@pytest.mark.parametrize(
    ("side", "inside"), [("below", {0}), ("above", {1, 2}), ("between", {1}), ("outside", {0, 2})]
)
def test_lies_checks_the_side_of_the_threshold(side, inside):
    assert {i for i, value in enumerate((-1, 0, 1)) if lies(value, -0.5, side, 0.5)} == inside
    assert not lies(None, 0, side)


@pytest.mark.parametrize(
    ("p_for", "p_against", "expected"),
    [
        (0.025, 0.9, ("holds", 0.05)),
        (0.9, 0.01, ("fails", 0.02)),
        (0.03, 0.9, ("unclear", 0.06)),
        (1.0, 1.0, ("unclear", 1.0)),
    ],
)
def test_one_sided_p_values_decide_and_are_doubled(p_for, p_against, expected):
    assert judge(p_for, p_against) == expected


def test_the_p_value_of_any_of_several_statements_is_adjusted():
    assert any_of([0.01, 0.5, 0.4]) == pytest.approx(0.03)
    assert any_of([0.9, 0.8]) == 1.0


def of_parts(verdict, low, high, side="above", threshold=0.0, upper=None):
    return Claim(
        *("mine", "", "", estimate(None, low, high), threshold, verdict, ""),
        side=side,
        upper=upper,
        parts="the sign is wrong",
    )


@pytest.mark.parametrize(
    ("alone", "low", "high", "side", "upper"),
    [
        ("holds", 0.1, 0.2, "above", None),
        ("fails", -0.2, -0.1, "above", None),
        ("unclear", -0.1, 0.1, "above", None),
        ("unclear", None, None, "above", None),
        ("holds", -0.2, -0.1, "below", None),
        ("fails", 0.1, 0.2, "below", None),
        ("holds", 0.1, 0.2, "between", 1.0),
        ("fails", 1.1, 1.2, "between", 1.0),
        ("unclear", -0.1, 1.2, "between", 1.0),
        ("unclear", 0.9, 1.2, "between", 1.0),
        ("holds", 1.1, 1.2, "outside", 1.0),
        ("holds", -0.2, -0.1, "outside", 1.0),
        ("fails", 0.1, 0.2, "outside", 1.0),
        ("unclear", -0.1, 1.2, "outside", 1.0),
    ],
)
def test_a_verdict_that_the_interval_alone_would_not_give_names_the_other_part(
    alone, low, high, side, upper
):
    for verdict in ("holds", "fails", "unclear"):
        told = of_parts(verdict, low, high, side, upper=upper).decided_by
        assert told == ("" if verdict == alone else "the sign is wrong")
