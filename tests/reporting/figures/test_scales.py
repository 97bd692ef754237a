import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reporting.figures.scales import (
    CORRELATIONS,
    LEAST,
    MOST,
    PERCENTS,
    SHARES,
    Span,
    counts,
    linear,
    logarithmic,
    symmetric_logarithmic,
)

NUMBERS = st.none() | st.floats() | st.floats(0.9, 1.1) | st.floats(width=16) | st.just(5e-324)
MANY = st.lists(NUMBERS, max_size=8) | st.builds(lambda one, n: [one] * n, NUMBERS, st.just(3))
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)


def is_sound(span: Span) -> bool:
    return (
        -sys.float_info.max < span.low < span.high < sys.float_info.max
        and len(span.ticks) > 0
        and list(span.ticks) == sorted(set(span.ticks))
        and all(span.low <= tick <= span.high for tick in span.ticks)
    )


@given(MANY, st.integers(2, 12))
def test_axes_of_any_numbers_are_finite_and_contain_their_ticks(values, most):
    for span in (linear(values, most=most), logarithmic(values, most=most)):
        assert is_sound(span)
        assert len(span.ticks) <= most


@given(MANY, POSITIVE)
def test_symmetric_logarithmic_axes_of_any_numbers_are_sound(values, constant):
    span = symmetric_logarithmic(values, constant)
    assert is_sound(span)
    assert span.constant is not None
    assert math.isfinite(max(abs(span.low), abs(span.high)) / span.constant)


@given(st.integers(0, 10**9))
def test_axes_of_counts_are_sound_with_integer_ticks(most):
    span = counts(most)
    assert is_sound(span)
    assert all(tick.is_integer() for tick in span.ticks)
    assert span.high == max(1, most)


@given(MANY)
def test_numbers_of_ordinary_magnitude_lie_inside(values):
    given_ = [value for value in values if value is not None and math.isfinite(value)]
    usual = [value for value in given_ if abs(value) <= MOST]
    span = linear(values)
    assert all(span.low <= value <= span.high for value in usual)
    assert span.cut == (len(usual) < len(given_))
    positive = [value for value in given_ if value > 0]
    usual = [value for value in positive if LEAST <= value <= MOST]
    span = logarithmic(values)
    assert all(span.low <= value <= span.high for value in usual)
    assert span.cut == (len(usual) < len(positive))


@given(st.lists(st.floats(0.5, 2) | st.floats(-1e9, 1e9), min_size=2, max_size=5))
def test_values_that_differ_in_six_digits_are_drawn_apart(values):
    span = linear(values)
    drawn = sorted({float(f"{value:.6g}") for value in values})
    assert span.low < drawn[0]
    assert drawn[-1] < span.high


@pytest.mark.parametrize("span", [CORRELATIONS, SHARES, PERCENTS])
def test_fixed_axes_are_sound(span):
    assert is_sound(span)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1, 10], [1, 2, 5, 10]),
        ([1, 1000], [1, 3, 10, 30, 100, 300, 1000]),
        ([1e-3, 1e4], [0.001, 0.1, 10, 1000]),
        ([1e-300, 1e300], [10.0**power for power in range(-300, 300, 86)]),
        # No round number of a coarser grid lies there.
        ([34.0, 30.3, 34.5], [25, 30, 35, 40]),
        ([3.0], [2.5, 3, 3.5]),
    ],
)
def test_logarithmic_axes_have_few_round_labels(values, ticks):
    assert logarithmic(values).ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("values", "ticks", "form"),
    [
        ([0, 1], [0, 0.2, 0.4, 0.6, 0.8, 1], ",.1f"),
        ([0, 1e-7], [0, 2e-8, 4e-8, 6e-8, 8e-8, 1e-7], ".2~g"),
        ([-2e4, 3e4], [-20000, -10000, 0, 10000, 20000, 30000], ",.0f"),
        ([100.01, 100.02], [100.01, 100.015, 100.02], ",.3f"),
        ([1.00001e9, 1.00002e9], [1e9, 1.00002e9, 1.00004e9], ".6~g"),
    ],
)
def test_linear_axes_have_few_distinct_round_labels(values, ticks, form):
    span = linear(values, most=6)
    assert (list(span.ticks), span.form) == (pytest.approx(ticks), form)


@pytest.mark.parametrize(
    ("values", "form"), [([1e-7, 10], "~g"), ([1, 1e7], "~g"), ([1, 1e9], ".0e")]
)
def test_labels_of_logarithmic_axes_are_short(values, form):
    assert logarithmic(values).form == form


def test_domains_leave_a_margin():
    assert linear([0, 10]).scale().to_dict() == {"domain": [-0.5, 10.5], "nice": False}
    assert (linear([2, 2]).low, linear([2, 2]).high) == (1.9, 2.1)
    assert (linear([0, 0]).low, linear([]).high) == (-1, 1)
    span = logarithmic([1, 10], factor=2)
    assert span.scale().to_dict() == {"domain": [0.5, 20], "nice": False, "type": "log"}
    assert linear([0.123456789, 1]).low == 0.0796296


def test_symmetric_logarithmic_axes_have_labels_on_both_sides_of_zero():
    span = symmetric_logarithmic([-3, 40], 0.5)
    assert span.ticks == (-2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20)
    assert span.scale().to_dict()["constant"] == 0.5


def test_values_beyond_the_axis_are_drawn_at_its_end():
    assert linear([0, 1e308]).scale().to_dict()["clamp"]
    assert logarithmic([1e-310, 1]).scale().to_dict()["clamp"]
    assert "clamp" not in linear([0, 1e299]).scale().to_dict()


def test_channels_have_the_scale_and_the_axis_of_their_span():
    span = linear([0.0, 1.0])
    for channel in (span.x("a:Q", "the title"), span.y("a:Q", "the title")):
        drawn = channel.to_dict()
        assert (drawn["field"], drawn["title"]) == ("a", "the title")
        assert drawn["scale"] == span.scale().to_dict()
        assert drawn["axis"] == span.axis().to_dict()
