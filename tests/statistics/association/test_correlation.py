import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.correlation import partial_pearson, pearson, within_pearson
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.resampling import Resampling
from tests.binomial import assert_at_least, with_simulations


def residual(column, controls):
    design = np.vstack([np.ones(len(column)), *controls]).T
    return column - design @ np.linalg.lstsq(design, column, rcond=None)[0]


def test_the_interval_of_independent_rows_is_fishers():
    estimate = pearson([1, 2, 3, 4], [1, 2, 3, 5])
    expected = stats.pearsonr([1, 2, 3, 4], [1, 2, 3, 5])
    interval = expected.confidence_interval(0.95)
    assert estimate.value == pytest.approx(expected.statistic, abs=1e-14)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx((0.38933, 0.99965), abs=5e-6)


def test_pearson_with_groups_equals_scipy(clustered):
    study = clustered(3, np.random.default_rng(0))
    estimate = pearson(study.x, study.y, study.groups)
    assert estimate.value == pytest.approx(stats.pearsonr(study.x, study.y).statistic, abs=1e-12)
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.n, estimate.n_groups, estimate.n_excluded) == (96, 12, 0)


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_the_interval_excludes_zero_exactly_if_the_p_value_is_small(clustered, level):
    for seed in range(20):
        study = clustered(3, np.random.default_rng(seed))
        shift = np.repeat(np.random.default_rng(seed).normal(size=12), 8)
        for groups in (study.groups, None):
            estimate = pearson(study.x, shift, groups, Resampling(level, resamples=100))
            leaves_out = estimate.low > 0 or estimate.high < 0
            assert leaves_out == (estimate.p_value < 1 - level)


def test_large_offsets_do_not_hide_the_correlation():
    x = np.array([1.0, 2.0, 3.0, 5.0])
    assert pearson(1e9 + x, -x).value == pytest.approx(-1, abs=1e-6)


def test_partial_correlation_equals_the_correlation_of_residuals():
    generator = np.random.default_rng(2)
    controls = generator.normal(size=(2, 50))
    x = controls[0] + generator.normal(size=50)
    y = controls[0] - controls[1] + 0.5 * x + generator.normal(size=50)
    expected = stats.pearsonr(residual(x, controls), residual(y, controls)).statistic
    estimate = partial_pearson(x, y, list(controls))
    assert estimate.value == pytest.approx(expected, abs=1e-12)
    half_width = np.arctanh(estimate.high) - np.arctanh(estimate.value)
    assert half_width == pytest.approx(1.959964 / np.sqrt(50 - 2 - 3), abs=1e-6)


def test_partial_correlation_with_groups_equals_the_correlation_of_residuals(clustered):
    study = clustered(3, np.random.default_rng(5))
    control = study.x + np.random.default_rng(6).normal(size=len(study.x))
    estimate = partial_pearson(study.x, study.y, [control], study.groups)
    expected = stats.pearsonr(residual(study.x, [control]), residual(study.y, [control])).statistic
    assert estimate.value == pytest.approx(expected, abs=1e-12)
    assert estimate.low < estimate.value < estimate.high


def test_nonfinite_rows_are_left_out_and_counted():
    x = [1, 2, np.nan, 4, 5, np.inf, 7]
    y = [2, 1, 3, np.nan, 6, 7, 9]
    estimate = pearson(x, y)
    assert (estimate.n, estimate.n_excluded) == (4, 3)
    assert estimate.value == pytest.approx(stats.pearsonr([1, 2, 5, 7], [2, 1, 6, 9]).statistic)


@pytest.mark.parametrize(
    ("x", "y", "controls", "reason"),
    [
        ([1, 2], [1, 2], [], "2 rows; a correlation needs at least 3"),
        ([], [], [], "0 rows; a correlation needs at least 3"),
        ([1, 1, 1], [1, 2, 3], [], "a column is constant"),
        ([1e8, 1e8, 1e8 + 1e-7], [1, 2, 3], [], "a column is constant"),
        ([1, 2, 4, 4], [3, 1, 2, 5], [[3, 5, 9, 9]], "a column is a linear function"),
    ],
)
def test_undefined_correlations_give_a_reason(x, y, controls, reason):
    estimate = partial_pearson(x, y, controls)
    assert estimate.value is None
    assert not estimate.has_interval
    assert reason in estimate.reason


def test_two_trials_have_a_value_but_no_interval():
    groups = Groups.of(["a", "a", "b", "b"], ["c"] * 4)
    estimate = pearson([1, 2, 3, 5], [1, 3, 2, 4], groups)
    assert estimate.value is not None
    assert estimate.reason == "no interval from 2 trials"


def test_the_interval_does_not_depend_on_the_order_of_the_rows_within_trials(clustered):
    study = clustered(3, np.random.default_rng(0))
    once = pearson(study.x, study.y, study.groups)
    blocks = np.arange(96).reshape(12, 8)[:, ::-1].ravel()
    again = pearson(study.x[blocks], study.y[blocks], study.groups)
    assert (once.low, once.high) == pytest.approx((again.low, again.high), abs=1e-12)


def test_within_conditions_the_sign_can_be_the_opposite(clustered):
    study = clustered(3, np.random.default_rng(4))
    condition = np.array(study.condition)
    y = study.y + 9 * condition  # what conditions do now hides what trials and snapshots do
    assert pearson(study.x, y, study.groups).value > 0.5
    estimate = within_pearson(study.x, y, study.groups)
    trials = [np.array(column).reshape(12, 8).mean(axis=1) for column in (study.x, y)]
    left = [c - np.repeat(c.reshape(4, 3).mean(axis=1), 3) for c in trials]
    assert estimate.value == pytest.approx(stats.pearsonr(*left).statistic, abs=1e-12)
    assert estimate.value < -0.2


def test_within_conditions_nonfinite_rows_are_left_out_first():
    groups = Groups.of(list("aabbccddee"), list("XXXXXXYYYY"))
    x = [1, 2, np.nan, 4, 5, 7, 1, 2, 3, 9]
    y = [2, 3, 9, 7, 1, 2, 3, 5, 4, np.inf]
    estimate = within_pearson(x, y, groups)
    means = np.array([[1.5, 4, 6, 1.5, 3], [2.5, 7, 1.5, 4, 4]])
    left = np.concatenate(
        [part - part.mean(axis=1, keepdims=True) for part in (means[:, :3], means[:, 3:])], axis=1
    )
    assert estimate.value == pytest.approx(stats.pearsonr(*left).statistic)
    assert estimate.n_excluded == 2


def test_conditions_of_one_trial_do_not_count_within_conditions():
    groups = Groups.of(range(7), [0, 0, 1, 1, 2, 2, 3])
    x, y = np.random.default_rng(0).normal(size=(2, 7))
    estimate = within_pearson(x, y, groups)
    assert (estimate.n, estimate.n_groups) == (6, 6)
    assert within_pearson(x, y, Groups.of(range(7), range(7))).value is None


@with_simulations(100, 1000)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_common_trend_of_training_does_not_mislead_within_conditions(seeds, simulations):
    """Seeds change x and y independently; along training x rises and y falls in every network."""
    generator = np.random.default_rng(0)
    groups = Groups(np.repeat(np.arange(6 * seeds), 4), np.repeat(np.arange(6), seeds))
    covered = 0
    for _ in range(simulations):
        trend = np.tile(np.arange(4) - 1.5, 6 * seeds)
        x, y = np.repeat(generator.normal(size=(2, 6 * seeds)), 4, axis=1)
        noise = 0.1 * generator.normal(size=(2, len(trend)))
        estimate = within_pearson(x + 0.5 * trend + noise[0], y - 0.5 * trend + noise[1], groups)
        covered += estimate.low <= 0 <= estimate.high
    assert_at_least(0.95, covered, simulations, "coverage")
