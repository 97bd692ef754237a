import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.intervals.bootstrap import LINEAR, fisher
from orchestrator.statistics.intervals.jackknife import (
    jackknife_interval,
    jackknife_weights,
    leave_out_conditions,
    leave_out_trials,
)

VALUES = np.array([1.0, 2.0, 4.0, 3.0, 7.0, 8.0, 12.0])
STRATA = [np.array([0, 1, 2]), np.array([3, 4, 5, 6])]


def test_each_weight_leaves_one_out_and_keeps_the_weight_of_its_stratum():
    weights = jackknife_weights(STRATA)
    np.testing.assert_array_equal(np.diag(weights), 0)
    np.testing.assert_allclose(weights[:, :3].sum(axis=1), 3)
    np.testing.assert_allclose(weights[0], [0, 1.5, 1.5, 1, 1, 1, 1])


def test_some_trials_are_left_out_as_among_all():
    some = np.array([5, 1])
    np.testing.assert_array_equal(jackknife_weights(STRATA, some), jackknife_weights(STRATA)[some])


def test_the_interval_of_one_mean_is_students():
    weights = jackknife_weights([np.arange(7)])
    low, high = jackknife_interval(VALUES.mean(), weights @ VALUES / 7, [np.arange(7)], 0.9)
    expected = stats.t.interval(0.9, 6, VALUES.mean(), stats.sem(VALUES))
    assert (low, high) == pytest.approx(expected)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_interval_of_a_difference_of_means_is_welchs(size):
    strata = [np.arange(size), np.arange(size, 7)]
    first, second = (VALUES[members] for members in strata)
    weights = jackknife_weights(strata)
    without = weights[:, size:] @ second / (7 - size) - weights[:, :size] @ first / size
    found = jackknife_interval(second.mean() - first.mean(), without, strata, 0.95)
    expected = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert found == pytest.approx((expected.low, expected.high))


def test_without_spread_the_interval_is_a_point():
    assert jackknife_interval(2.0, np.full(7, 2.0), STRATA, 0.95) == (2.0, 2.0)


def test_the_interval_is_undefined_if_one_resample_is():
    assert jackknife_interval(2.0, np.array([1, np.nan, 2.0]), STRATA[:1], 0.95) == (None, None)


def test_a_stratum_of_a_single_trial_is_refused():
    with pytest.raises(ValueError, match="one trial"):
        jackknife_weights([np.array([0, 1]), np.array([2])])


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_the_interval_of_a_mean_over_conditions_is_students():
    spread = leave_out_conditions(mean_of(VALUES), np.arange(7))
    expected = stats.ttest_1samp(VALUES, 2.0)
    assert spread.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert 2 * spread.p_above(2.0) == pytest.approx(expected.pvalue)
    without = [(VALUES.sum() - one) / 6 for one in (12.0, 1.0)]
    assert spread.without == pytest.approx(without)


def test_the_interval_of_a_mean_over_trials_is_students():
    spread = leave_out_trials(mean_of(VALUES), [np.arange(7)])
    expected = stats.t.interval(0.95, 6, VALUES.mean(), stats.sem(VALUES))
    assert spread.interval() == pytest.approx(expected)


def test_levels_of_a_grid_are_left_out_too():
    values = np.random.default_rng(0).normal(size=12)
    axes = [np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)]
    spread = leave_out_conditions(mean_of(values), np.arange(12), axes)
    grid = values.reshape(4, 3)
    rows, columns = grid.mean(axis=1).var(ddof=1) / 4, grid.mean(axis=0).var(ddof=1) / 3
    cells = values.var(ddof=1) / 12
    assert spread.error**2 == pytest.approx(max(rows + columns - cells, rows, columns, cells))
    freedom = (rows + columns) ** 2 / (rows**2 / 3 + columns**2 / 2)
    assert spread.freedom == pytest.approx(freedom)


def test_an_axis_with_one_level_per_condition_changes_nothing():
    plain = leave_out_conditions(mean_of(VALUES), np.arange(7))
    levels = leave_out_conditions(mean_of(VALUES), np.arange(7), [np.arange(7)])
    assert levels.interval() == pytest.approx(plain.interval())


def test_the_bounds_include_the_value_with_and_without_its_bias():
    square = lambda weights: mean_of(VALUES)(weights) ** 2  # noqa: E731
    spread = leave_out_conditions(square, np.arange(7))
    unbiased = VALUES.mean() ** 2 - VALUES.var(ddof=1) / 7  # Exact, as bias goes with 1/n.
    assert (spread.lowest, spread.highest) == pytest.approx((unbiased, VALUES.mean() ** 2), rel=0.1)


@pytest.mark.parametrize("scale", [LINEAR, fisher(1e-9)])
def test_p_values_invert_the_interval(scale):
    values = np.tanh(np.random.default_rng(3).normal(size=7))
    spread = leave_out_conditions(mean_of(values), np.arange(7), scale=scale)
    low, high = spread.interval()
    for threshold in np.linspace(-0.99, 0.99, 61):
        assert (high < threshold) == (spread.p_below(threshold) < 0.025)
        assert (low > threshold) == (spread.p_above(threshold) < 0.025)


def test_there_is_no_spread_if_it_is_zero_or_undefined():
    assert leave_out_conditions(mean_of(np.ones(4)), np.arange(4)) is None
    assert leave_out_conditions(mean_of(VALUES[:1]), np.zeros(1, dtype=int)) is None
    undefined = lambda weights: np.where(weights[:, 0] > 0, 1.0, np.nan)  # noqa: E731
    assert leave_out_conditions(undefined, np.arange(4)) is None
    assert leave_out_trials(undefined, [np.arange(4)]) is None
    assert leave_out_trials(mean_of(VALUES), [np.arange(6), np.array([6])]) is None


def test_many_conditions_are_left_out_in_random_groups():
    values = np.random.default_rng(0).normal(size=5000)
    spread = leave_out_conditions(mean_of(values), np.arange(5000))
    assert spread.freedom == 199
    assert spread.error == pytest.approx(stats.sem(values), rel=0.2)
    assert spread.lowest == pytest.approx(values.mean(), abs=1e-9)
