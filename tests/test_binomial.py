"""The test of rates against sums of binomial probabilities."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import pytest

from tests.binomial import (
    LEVEL,
    assert_at_least,
    assert_at_most,
    assert_below,
    assert_covers,
    with_simulations,
)

Judge = Callable[[float, int, int], None]


def probability(hits: int, trials: int, rate: float) -> float:
    return comb(trials, hits) * rate**hits * (1 - rate) ** (trials - hits)


def passes(judge: Judge, rate: float, hits: int, trials: int) -> bool:
    try:
        judge(rate, hits, trials)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("trials", [1, 40, 200])
def test_each_number_of_hits_is_judged_by_its_tail_probability(rate: float, trials: int) -> None:
    every = range(trials + 1)
    chances = [probability(hits, trials, rate) for hits in every]
    for hits in every:
        lower, upper = sum(chances[: hits + 1]), sum(chances[hits:])
        assert passes(assert_at_least, rate, hits, trials) == (lower >= LEVEL)
        assert passes(assert_below, rate, hits, trials) == (lower < LEVEL)
        assert passes(assert_at_most, rate, hits, trials) == (upper >= LEVEL)


@pytest.mark.parametrize("judge", [assert_at_least, assert_at_most])
@pytest.mark.parametrize("trials", [50, 400, 1000])
def test_a_true_rate_fails_at_most_once_in_a_hundred(judge: Judge, trials: int) -> None:
    wrong = [hits for hits in range(trials + 1) if not passes(judge, 0.95, hits, trials)]
    assert sum(probability(hits, trials, 0.95) for hits in wrong) <= LEVEL


def test_coverage_is_judged_from_both_sides() -> None:
    assert_covers(950, 1000)
    with pytest.raises(AssertionError, match=r"coverage refutes at least 0\.95: 930 of 1000"):
        assert_covers(930, 1000)
    with pytest.raises(AssertionError, match=r"of the mean refutes at most 0\.98: 995 of 1000"):
        assert_covers(995, 1000, what="coverage of the mean")
    assert_covers(900, 1000, stated=0.9, widest=0.95)
    with pytest.raises(AssertionError, match=r"at most 0\.95: 970 of 1000"):
        assert_covers(970, 1000, stated=0.9, widest=0.95)
    with pytest.raises(AssertionError, match=r"does not refute 0\.8 or more: 39 of 50, p = 0\.4"):
        assert_below(0.8, 39, 50)


def test_claims_are_tested_in_full_and_in_a_slice() -> None:
    few, many = with_simulations(200, 2000).mark.args[1]
    assert (few.values, few.marks) == ((200,), ())
    assert (many.values, [mark.name for mark in many.marks]) == ((2000,), ["full"])
    with pytest.raises(AssertionError):
        with_simulations(200, 999)
