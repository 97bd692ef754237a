import numpy as np

from orchestrator.statistics.intervals.estimate import Estimate, all_finite, positive_log10


def test_all_finite_checks_every_column():
    one = np.array([1.0, np.nan, 3.0])
    table = np.array([[1.0, 2.0], [1.0, 2.0], [np.inf, 1.0]])
    np.testing.assert_array_equal(all_finite(one, table), [True, False, False])


def test_the_logarithm_is_undefined_unless_the_value_is_positive():
    logarithms = positive_log10(np.array([100.0, 0.0, -1.0, np.inf, np.nan]))
    np.testing.assert_array_equal(logarithms, [2, np.nan, np.nan, np.nan, np.nan])


def test_an_interval_needs_both_ends():
    assert Estimate(0.5, 0.4, 0.6, 0.95, 9, 3, 0).has_interval
    assert not Estimate(0.5, None, None, 0.95, 9, 3, 0).has_interval
