"""Bars that compare an estimate with the threshold of its claim."""

import math
import random
from dataclasses import replace

import pytest

from orchestrator.reporting.claims.verdict_scale import bar_of
from orchestrator.statistics import Claim, Estimate
from orchestrator.statistics.claim import Beside, lies


def claim(value, low, high, threshold, side="above", upper=None, beside=()):
    estimates = tuple(
        Beside("", Estimate(one, None, None, 0.95, 1, 1, 0), holding=None) for one in beside
    )
    estimate = Estimate(value, low, high, 0.95, 9, 3, 0)
    return Claim(
        *("mine", "", "", estimate, threshold, "unclear", ""),
        side=side,
        upper=upper,
        beside=estimates,
    )


def test_a_single_threshold_is_in_the_middle_and_the_holding_side_on_the_right():
    above = bar_of(claim(2.0, 1.5, 2.5, 1.0), "linear")
    assert above.bounds == (50.0,)
    assert (above.holding[0].start, above.holding[0].end) == (50.0, 100.0)
    assert 50 < above.interval.start < above.value < above.interval.end < 100
    below = bar_of(claim(-0.9, -0.95, -0.85, -0.8, "below"), "correlation")
    assert below.bounds == (50.0,)
    assert 50 < below.interval.start < below.value < below.interval.end < 100


def test_a_range_is_shaded_between_its_bounds_or_outside_them():
    between = bar_of(claim(1.0, 0.95, 1.02, 0.9, "between", 1.1), "ratio")
    assert [(span.start, span.end) for span in between.holding] == [between.bounds]
    outside = bar_of(claim(3.0, 2.0, 4.0, 0.5, "outside", 2.0), "ratio")
    low, high = outside.bounds
    assert [(span.start, span.end) for span in outside.holding] == [(0.0, low), (high, 100.0)]


@pytest.mark.parametrize("scale", ["linear", "correlation", "ratio"])
def test_every_number_lies_on_the_bar_on_its_side_of_the_threshold(scale):
    random_ = random.Random(scale)
    for _ in range(500):
        size = 10.0 ** random_.choice((0, 0, 0, -3, 5, 300, -300, 308))
        if scale == "correlation":
            size = 1.0
        low, value, high = sorted(random_.uniform(-1, 1) * size for _ in range(3))
        threshold, other = sorted(
            random_.choice((0.0, random_.uniform(-1, 1))) * size for _ in "ab"
        )
        side = random_.choice(("above", "below", "between", "outside"))
        upper = other if side in ("between", "outside") and other > threshold else None
        side = side if upper is not None or side == "below" else "above"
        one = claim(value, low, high, threshold, side, upper, [random_.uniform(-1, 1) * size])
        bar = bar_of(one, scale)
        places = [bar.value, *bar.bounds, *bar.beside, bar.interval.start, bar.interval.end]
        assert all(math.isfinite(place) and 0 <= place <= 100 for place in places)
        if all(abs(bar.value - bound) > 0.1 for bound in bar.bounds):
            inside = any(span.start < bar.value < span.end for span in bar.holding)
            assert inside == lies(value, threshold, side, upper)


def test_an_unknown_estimate_has_no_bar():
    assert bar_of(claim(None, None, None, 0.0), "linear") is None
    assert bar_of(claim(math.inf, None, None, 0.0), "linear") is None


def test_an_estimate_without_interval_has_a_bar_without_one():
    bar = bar_of(claim(0.3, None, None, 0.0), "correlation")
    assert bar.interval is None
    assert bar.value > 50


def test_an_estimate_at_its_threshold_is_in_the_middle():
    assert bar_of(claim(0.0, 0.0, 0.0, 0.0), "ratio").value == 50.0


def test_numbers_outside_a_scale_are_placed_linearly():
    ratio = bar_of(claim(-1.0, -2.0, 3.0, 1.0), "ratio")
    assert ratio == bar_of(claim(-1.0, -2.0, 3.0, 1.0), "linear")
    infinite = replace(claim(0.5, -math.inf, 0.6, 0.0), side="above")
    assert bar_of(infinite, "correlation").interval is None
