import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.jackknife import jackknife_interval, jackknife_weights

VALUES = np.array([1.0, 2.0, 4.0, 3.0, 7.0, 8.0, 12.0])
STRATA = [np.array([0, 1, 2]), np.array([3, 4, 5, 6])]


def test_weights_leave_each_out_and_keep_the_weight_of_its_stratum():
    weights = jackknife_weights(STRATA)
    np.testing.assert_array_equal(np.diag(weights), 0)
    np.testing.assert_allclose(weights[:, :3].sum(axis=1), 3)
    np.testing.assert_allclose(weights[0], [0, 1.5, 1.5, 1, 1, 1, 1])


def test_interval_of_one_mean_is_students():
    weights = jackknife_weights([np.arange(7)])
    low, high = jackknife_interval(VALUES.mean(), weights @ VALUES / 7, [np.arange(7)], 0.9)
    expected = stats.t.interval(0.9, 6, VALUES.mean(), stats.sem(VALUES))
    assert (low, high) == pytest.approx(expected)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_interval_of_a_difference_of_means_is_welchs(size):
    strata = [np.arange(size), np.arange(size, 7)]
    first, second = (VALUES[members] for members in strata)
    weights = jackknife_weights(strata)
    without = weights[:, size:] @ second / (7 - size) - weights[:, :size] @ first / size
    found = jackknife_interval(second.mean() - first.mean(), without, strata, 0.95)
    expected = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert found == pytest.approx((expected.low, expected.high))


def test_without_spread_the_interval_is_a_point():
    assert jackknife_interval(2.0, np.full(7, 2.0), STRATA, 0.95) == (2.0, 2.0)


def test_undefined_without_some_trial():
    assert jackknife_interval(2.0, np.array([1, np.nan, 2.0]), STRATA[:1], 0.95) == (None, None)


def test_a_single_trial_has_no_jackknife():
    with pytest.raises(ValueError, match="one trial"):
        jackknife_weights([np.array([0, 1]), np.array([2])])
