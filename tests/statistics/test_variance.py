import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.bootstrap import Groups
from orchestrator.statistics.variance import level_codes, shares, variance_share


def groups_of(conditions):
    return Groups.of(range(len(conditions)), conditions)


def test_share_equals_eta_squared_of_analysis_of_variance():
    values = np.array([1.0, 2.0, 4.0, 3.0, 6.0, 8.0, 9.0])
    factor = ["a", "a", "a", "b", "b", "b", "b"]
    f = stats.f_oneway(values[:3], values[3:]).statistic
    estimate = variance_share(values, factor, groups_of(factor))
    assert estimate.value == pytest.approx(f / (f + 5), abs=1e-12)
    assert 0 <= estimate.low < estimate.value < estimate.high <= 1


def test_growth_that_all_trials_share_is_part_of_the_whole():
    factor = level_codes(["a", "a", "b", "b"])
    step = np.array([0.0, 0.0, 2.0, 2.0])[:, None]
    once = np.ones((1, 4))
    assert shares(step + np.zeros(3), factor, once)[0] == pytest.approx(1)
    # Two columns 4 apart: between 4 · 1² · 2 = 8, growth 8 · 2² = 32.
    assert shares(step + np.array([0.0, 4.0]), factor, once)[0] == pytest.approx(8 / 40)


def test_weights_act_like_repeated_trials():
    generator = np.random.default_rng(0)
    values, factor = generator.normal(size=(5, 3)), level_codes(["a", "a", "b", "b", "b"])
    weights = np.array([[2.0, 1.0, 0.0, 3.0, 1.0]])
    repeated = np.repeat(np.arange(5), weights[0].astype(int))
    expected = shares(values[repeated], factor[repeated], np.ones((1, len(repeated))))
    np.testing.assert_allclose(shares(values, factor, weights), expected, atol=1e-12)


def test_trials_that_are_not_finite_are_counted():
    values = np.array([[1.0, 2.0], [np.nan, 1.0], [4.0, 5.0], [5.0, 4.0], [0.0, 1.0]])
    estimate = variance_share(values, [1, 1, 2, 2, 1], groups_of([1, 1, 2, 2, 1]))
    assert (estimate.n, estimate.n_excluded) == (4, 1)


def test_undefined_shares_say_why():
    one = variance_share(np.arange(3.0), [1, 1, 1], groups_of([1, 1, 1]))
    assert one.reason == "the factor has fewer than two levels"
    constant = variance_share(np.full(4, 0.1), [1, 1, 2, 2], groups_of([1, 1, 2, 2]))
    assert constant.reason == "nothing varies between trials"
    few = variance_share(np.array([1.0, 2.0]), [1, 2], groups_of([1, 2]))
    assert few.value == 1
    assert few.reason == "no interval from 2 trials"
