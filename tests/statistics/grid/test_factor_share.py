import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.grid.factor_share import factor_share, noncentral_f
from orchestrator.statistics.intervals.bootstrap import Groups
from tests.binomial import assert_covers, with_simulations

# Three levels of a factor, two conditions in each.
LEVEL = np.repeat([0, 1, 2], 2)
OTHER = np.tile([0.0, 0.5], 3)


def layout(seeds):
    """Level of the factor and groups, one row a trial."""
    condition = np.repeat(np.arange(6), seeds)
    return LEVEL[condition].tolist(), Groups.of(range(len(condition)), condition.tolist())


def test_the_share_is_omega_squared_of_the_one_way_layout():
    """Conditions are the levels: ω² = (SSB − (k − 1) MSE) / (SST + MSE)."""
    values = np.array([3.0, 4.0, 6.0, 7.0, 8.0, 9.5, 1.0, 4.0])
    factor = [0, 0, 0, 1, 1, 1, 2, 2]
    found = factor_share(values, factor, Groups.of(range(8), factor))
    rows = [values[np.array(factor) == level] for level in range(3)]
    error = sum(np.sum((row - row.mean()) ** 2) for row in rows) / 5
    between = sum(len(row) * (row.mean() - values.mean()) ** 2 for row in rows)
    expected = (between - 2 * error) / (np.sum((values - values.mean()) ** 2) + error)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert (found.n, found.n_groups, found.n_excluded) == (8, 8, 0)


@pytest.mark.parametrize("level", [0.95, 0.9])
def test_the_interval_excludes_zero_exactly_if_the_f_test_is_significant(level):
    generator = np.random.default_rng(0)
    found_something = 0
    for _ in range(100):
        rows = generator.normal(size=(3, 4)) + 0.8 * np.arange(3)[:, None]
        factor = np.repeat(range(3), 4).tolist()
        found = factor_share(rows.ravel(), factor, Groups.of(range(12), factor), level)
        significant = stats.f_oneway(*rows).pvalue < (1 - level) / 2
        assert (found.low > 0) == significant
        found_something += significant
    assert 10 < found_something < 90


def test_the_ends_invert_the_noncentral_f_distribution():
    rows = np.array([[1.0, 2.0, 3.0], [5.0, 7.0, 6.0], [2.0, 2.5, 4.0]])
    factor = np.repeat(range(3), 3).tolist()
    found = factor_share(rows.ravel(), factor, Groups.of(range(9), factor))
    f = stats.f_oneway(*rows).statistic
    for end, probability in ((found.low, 0.975), (found.high, 0.025)):
        noncentrality = 9 * end / (1 - end)
        assert stats.ncf.cdf(f, 2, 6, noncentrality) == pytest.approx(probability, abs=1e-9)


def test_many_networks_and_large_effects_have_an_interval():
    """Where SciPy's noncentral F is NaN at times: the share is then known to a few digits."""
    generator = np.random.default_rng(0)
    factor = np.repeat(range(4), 500)
    for effect in (1.0, 10.0, 300.0):
        values = generator.normal(size=2000) + effect * factor
        found = factor_share(values, factor.tolist(), Groups.of(range(2000), factor.tolist()))
        truth = 1.25 * effect**2 / (1.25 * effect**2 + 1)
        assert found.low < truth < found.high < 1
        assert (found.high - found.low) < 0.1 * truth


@with_simulations(200, 4000)
@pytest.mark.parametrize("effect", [0.0, 1.0, 4.0])
def test_the_interval_covers_the_truth_and_the_estimate_is_unbiased(effect, simulations):
    generator = np.random.default_rng(1)
    means = effect * np.array([0, 1, 0.3])
    factor, groups = layout(3)
    expected = means[LEVEL] + OTHER
    truth = np.var(means) / (np.var(means) + 1)
    hits, values = 0, []
    for _ in range(simulations):
        noise = generator.normal(size=(6, 3))
        found = factor_share((expected[:, None] + noise).ravel(), factor, groups)
        hits += found.low <= truth <= found.high
        values.append(found.value)
    assert_covers(hits, simulations)
    assert np.mean(values) == pytest.approx(truth, abs=0.03)


def test_snapshots_count_through_the_mean_of_their_trial():
    generator = np.random.default_rng(2)
    factor, groups = layout(2)
    values = generator.normal(size=12)
    once = factor_share(values, factor, groups)
    wiggle = np.array([-0.3, 0.1, 0.2])
    snapshots = (values[:, None] + wiggle).ravel()
    many = Groups(np.repeat(groups.trial, 3), groups.condition)
    again = factor_share(snapshots, np.repeat(factor, 3).tolist(), many)
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))
    assert (again.n, again.n_groups) == (36, 12)


def test_other_hyperparameters_do_not_change_the_share():
    generator = np.random.default_rng(3)
    factor, groups = layout(3)
    values = generator.normal(size=18) + np.array(factor)
    shifted = values + 100 * OTHER[groups.condition]
    found = [factor_share(column, factor, groups) for column in (values, shifted)]
    assert found[0].value == pytest.approx(found[1].value, abs=1e-9)


def test_a_share_below_chance_is_reported_as_negative():
    found = factor_share([0, 10, 1, 9.5], [0, 0, 1, 1], Groups.of(range(4), [0, 0, 1, 1]))
    assert found.value < 0
    assert found.low == found.value
    assert 0 <= found.high < 1


def test_without_noise_the_share_is_1():
    groups = Groups.of(range(4), [0, 0, 1, 1])
    found = factor_share([1, 1, 2, 2], [0, 0, 1, 1], groups)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    almost = factor_share([1, 1 + 1e-7, 2, 2], [0, 0, 1, 1], groups)
    assert almost.low > 0.999
    assert almost.high <= 1


def test_nonfinite_rows_are_counted():
    factor, groups = layout(3)
    values = np.random.default_rng(4).normal(size=18)
    values[0], values[7] = np.nan, np.inf
    found = factor_share(values, factor, groups)
    assert (found.n, found.n_groups, found.n_excluded) == (16, 16, 2)


@pytest.mark.parametrize(
    ("values", "factor", "condition", "reason"),
    [
        ([1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 1, 1], "fewer than two levels"),
        ([], [], [], "fewer than two levels"),
        ([1, 2, 3, 4], [0, 0, 1, 1], [0, 1, 2, 3], "no condition has several trials"),
        ([2.0, 2.0, 2.0, 2.0], [0, 0, 1, 1], [0, 0, 1, 1], "nothing varies"),
    ],
)
def test_a_missing_share_gives_a_reason(values, factor, condition, reason):
    found = factor_share(values, factor, Groups.of(range(len(values)), condition))
    assert found.value is None
    assert reason in found.reason


def test_a_condition_with_two_levels_is_refused():
    with pytest.raises(ValueError, match="two levels of the factor"):
        factor_share([1, 2, 3], [0, 1, 1], Groups.of(range(3), [0, 0, 1]))


@pytest.mark.parametrize(
    ("f", "freedom", "noncentrality"),
    [(3.0, (2, 6), 0.0), (8.0, (2, 6), 20.0), (300.0, (3, 50), 900.0), (5e4, (2, 400), 1.0e5)],
)
def test_the_noncentral_f_distribution_equals_scipy(f, freedom, noncentrality):
    expected = stats.ncf.cdf(f, *freedom, noncentrality)
    assert 0.01 < expected < 0.999
    assert noncentral_f(f, freedom, noncentrality) == pytest.approx(expected, abs=1e-9)
