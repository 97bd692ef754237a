import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics import Design
from orchestrator.statistics.intervals.bootstrap import (
    LINEAR,
    LOGARITHMIC,
    Groups,
    student_interval,
)
from orchestrator.statistics.intervals.median import OrderStatistics, median, median_of_conditions
from orchestrator.statistics.intervals.resampling import DEFAULT


def test_the_median_of_odd_and_even_numbers_of_rows_is_exact():
    groups = Groups.of(range(5), [0] * 5)
    assert median([5, 1, 9, 3, 7], groups).value == 5
    assert median([5, 1, 9, 3, np.nan], groups).value == 4


def test_the_interval_contains_the_median_and_grows_with_the_spread_of_trials():
    generator = np.random.default_rng(0)
    groups = Groups.of(np.repeat(range(12), 8).tolist(), np.repeat(range(4), 24).tolist())
    effects = np.repeat(generator.normal(size=12), 8)
    ratios = np.exp(3 + 0.1 * effects)
    narrow, wide = median(ratios, groups, LOGARITHMIC), median(ratios**5, groups, LOGARITHMIC)
    assert narrow.low < narrow.value < narrow.high
    assert wide.high / wide.low == pytest.approx((narrow.high / narrow.low) ** 5, rel=0.02)


def test_each_resample_is_the_median_of_its_rows():
    generator = np.random.default_rng(2)
    groups = Groups.of(np.repeat(range(6), 3).tolist(), np.repeat(range(2), 9).tolist())
    values = generator.normal(size=18)
    # Two of three trials are drawn in each condition and count 3/2 each time.
    draws = groups.weights(DEFAULT.resamples, DEFAULT.seed) * 2 / 3
    assert np.array_equal(draws, np.round(draws))
    times = draws.astype(int)[:, groups.trial]
    medians = np.array([np.median(np.repeat(values, row)) for row in times])
    found = median(values, groups)
    expected = student_interval(found.value, medians, groups.degrees_of_freedom, LINEAR, 0.95)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)


def test_nonfinite_values_are_counted():
    groups = Groups.of(range(4), [0] * 4)
    estimate = median([1, np.nan, np.inf, 3], groups)
    assert (estimate.n, estimate.n_excluded, estimate.value) == (2, 2, 2)
    assert estimate.reason == "no interval from 2 trials"
    assert median([np.nan] * 4, groups).reason == "no finite value"


@pytest.mark.parametrize("size", [6, 7, 12, 25])
def test_order_statistics_cover_the_median_exactly(size):
    order = OrderStatistics(np.arange(float(size)))
    low, high = order.interval()
    inside = stats.binom.pmf(np.arange(low + 1, high + 1), size, 0.5).sum()
    assert inside >= 0.95
    narrower = stats.binom.pmf(np.arange(low + 2, high), size, 0.5).sum()
    assert narrower < 0.95
    for threshold in np.arange(-0.5, size):
        assert (order.p_above(threshold) <= 0.025) == (low > threshold)
        assert (order.p_below(threshold) <= 0.025) == (high < threshold)


def test_five_conditions_are_too_few_for_order_statistics():
    assert OrderStatistics(np.arange(5.0)).interval() == (-np.inf, np.inf)


def test_trials_and_conditions_have_equal_weights():
    groups = Groups(np.array([0, 0, 0, 0, 1, 2, 3]), np.array([0, 0, 1, 2]))
    values = np.array([1.0, 1, 1, 1, 9, 2, 30])
    found = median_of_conditions(values, groups, Design())
    assert found.estimate.value == 5  # Of (1 + 9) / 2, 2 and 30.
    assert found.without == (3.5, 17.5)


def test_with_few_conditions_the_freedom_is_that_of_the_middle_condition():
    generator = np.random.default_rng(0)
    groups = Groups(np.arange(15), np.repeat(np.arange(3), [3, 5, 7]))
    values = np.repeat([0.0, 10.0, 20.0], [3, 5, 7]) + generator.normal(size=15)
    found = median_of_conditions(values, groups, Design())
    assert found.spread.freedom == 4
    assert found.scope == "in this grid"
