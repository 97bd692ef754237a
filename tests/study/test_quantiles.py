"""Quantiles of what a random search draws from."""

import decimal
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.study import quantiles

FRACTIONS = st.integers(0, (1 << 63) - 1).map(quantiles.fraction_of)


def test_fractions_lie_strictly_between_0_and_1():
    assert 0 < quantiles.fraction_of(0) < Decimal("1e-19")
    assert Decimal(1) - Decimal("1e-19") < quantiles.fraction_of((1 << 63) - 1) < 1


def test_quantiles_equal_the_formulas():
    assert quantiles.uniform(-1.0, 3.0, Decimal("0.25")) == 0.0
    assert quantiles.log_uniform(1e-4, 1e-2, Decimal("0.5")) == 1e-3
    assert quantiles.uniform(0.0, 1.0, Decimal(1) / 3) == 0.333333
    assert quantiles.log_uniform(1.0, 10.0, Decimal("0.1")) == 1.25893


@given(FRACTIONS)
def test_decimal_quantiles_agree_with_floating_point(fraction):
    u = float(fraction)
    assert quantiles.uniform(-2.0, 0.3, fraction) == pytest.approx(-2 + 2.3 * u, rel=1e-5)
    found = quantiles.log_uniform(1e-5, 7.0, fraction)
    assert found == pytest.approx(1e-5 * 7e5**u, rel=1e-5)
    assert float(f"{found:.6g}") == found


@pytest.mark.parametrize(("low", "high"), [(1, 4), (16, 18), (-3, 5)])
def test_integers_are_equally_probable(low, high):
    count = high - low + 1
    for place in range(count):
        for share in ("0.001", "0.999"):
            fraction = (place + Decimal(share)) / count
            assert quantiles.integer(low, high, fraction) == low + place


@pytest.mark.parametrize(("low", "high"), [(1, 4), (1, 2), (16, 24)])
def test_log_integers_have_the_stated_probabilities(low, high):
    whole, below = math.log((high + 0.5) / (low - 0.5)), 0.0
    for number in range(low, high + 1):
        above = below + math.log((number + 0.5) / (number - 0.5)) / whole
        for place in (below + 1e-9, above - 1e-9):
            assert quantiles.log_integer(low, high, Decimal(place)) == number
        below = above
    assert below == pytest.approx(1)


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(1, 2**63 - 2), FRACTIONS)
def test_quantiles_stay_within_the_range(one, other, whole, fraction):
    low, high = sorted((one, other))
    for quantile in (quantiles.uniform, quantiles.log_uniform):
        assert low <= quantile(low, high, fraction) <= high
    assert -whole <= quantiles.integer(-whole, whole, fraction) <= whole
    assert 1 <= quantiles.log_integer(1, whole + 1, fraction) <= whole + 1


def test_the_decimal_context_of_the_calling_thread_has_no_effect():
    bits = 5 << 60
    expected = quantiles.log_uniform(1e-3, 1.0, quantiles.fraction_of(bits))
    with decimal.localcontext(prec=2, rounding=decimal.ROUND_UP):
        assert quantiles.log_uniform(1e-3, 1.0, quantiles.fraction_of(bits)) == expected
        assert quantiles.log_integer(1000, 1002, Decimal("0.5")) == 1001
