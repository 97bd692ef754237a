import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.correlation import pearson
from orchestrator.statistics.intervals.bootstrap import (
    LINEAR,
    LOGARITHMIC,
    Groups,
    fisher,
    student_interval,
    student_p_value,
)
from orchestrator.statistics.intervals.resampling import Resampling
from tests.binomial import assert_at_least, assert_below, with_simulations


def weighted_pearson(x, y, weights):
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    covariance = weights @ (x * y) / total - mean_x * mean_y
    variances = (weights @ x**2 / total - mean_x**2) * (weights @ y**2 / total - mean_y**2)
    return covariance / np.sqrt(variances)


@with_simulations(150, 2000)
@pytest.mark.parametrize("seeds", [2, 3])
def test_intervals_cover_the_truth_where_a_bootstrap_over_rows_does_not(
    clustered, seeds, simulations
):
    generator = np.random.default_rng(1)
    many = clustered(20_000, generator)
    truth = np.corrcoef(many.x, many.y)[0, 1]
    hits, naive_hits, percentile_hits = 0, 0, 0
    for number in range(simulations):
        study = clustered(seeds, generator)
        few = Resampling(resamples=200, seed=number)
        estimate = pearson(study.x, study.y, study.groups, few)
        hits += estimate.low <= truth <= estimate.high

        rows = generator.multinomial(len(study.x), np.full(len(study.x), 1 / len(study.x)), 200)
        low, high = np.quantile(weighted_pearson(study.x, study.y, rows), [0.025, 0.975])
        naive_hits += low <= truth <= high

        drawn = [generator.multinomial(seeds, np.full(seeds, 1 / seeds), 200) for _ in range(4)]
        whole = np.hstack(drawn)[:, study.groups.trial]
        low, high = np.quantile(weighted_pearson(study.x, study.y, whole), [0.025, 0.975])
        percentile_hits += low <= truth <= high
    assert_at_least(0.95, hits, simulations)
    assert_below(0.75, naive_hits, simulations)
    assert naive_hits < percentile_hits < hits


def test_the_variance_of_a_weighted_sum_is_unbiased():
    values = np.array([1.0, 4.0, 2.0, 7.0, 7.5])
    groups = Groups.of(range(5), ["a", "a", "a", "b", "b"])
    sums = groups.weights(200_000) @ values
    expected = 3 * np.var(values[:3], ddof=1) + 2 * np.var(values[3:], ddof=1)
    assert np.var(sums) == pytest.approx(expected, rel=0.02)
    assert np.mean(sums) == pytest.approx(values.sum(), rel=1e-3)


def test_weights_of_a_condition_add_up_to_its_trials():
    groups = Groups.of(range(6), [0, 0, 0, 1, 1, 1])
    weights = groups.weights(50)
    np.testing.assert_allclose(weights[:, :3].sum(axis=1), 3)
    np.testing.assert_allclose(weights[:, 3:].sum(axis=1), 3)


def test_conditions_with_one_trial_are_pooled():
    groups = Groups.of(range(5), [0, 1, 2, 3, 3])
    weights = groups.weights(100)
    np.testing.assert_allclose(weights[:, :3].sum(axis=1), 3)
    assert (weights[:, :3] != 1).any()
    assert groups.degrees_of_freedom == 2 + 1


def test_equal_seeds_give_equal_resamples():
    groups = Groups.of(range(6), [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(groups.weights(20, seed=3), groups.weights(20, seed=3))
    assert (groups.weights(20, seed=3) != groups.weights(20, seed=4)).any()


def test_all_snapshots_of_a_trial_are_drawn_together():
    groups = Groups.of(["t", "t", "u"], ["c", "c", "c"])
    np.testing.assert_array_equal(groups.trial, [0, 0, 1])
    np.testing.assert_allclose(groups.sums(np.array([1.0, 2.0, 5.0])), [3, 5])


def test_select_drops_trials_without_rows():
    groups = Groups.of(["t", "t", "u", "v"], ["c", "c", "c", "d"])
    kept = groups.select(np.array([False, False, True, True]))
    np.testing.assert_array_equal(kept.trial, [0, 1])
    assert (kept.trials, kept.conditions) == (2, 2)


def test_labels_must_be_consistent():
    with pytest.raises(ValueError, match="more than one condition"):
        Groups.of(["t", "t"], ["c", "d"])
    with pytest.raises(ValueError, match="2 trial labels, 1 condition"):
        Groups.of(["t", "t"], ["c"])


def test_student_intervals_equal_the_formula_on_each_scale():
    resampled = np.array([1.0, 2.0, 3.0])
    quantile = stats.t.ppf(0.975, 4)
    assert student_interval(2.0, resampled, 4, LINEAR) == pytest.approx(
        (2 - quantile, 2 + quantile)
    )
    spread = np.std(np.log(resampled), ddof=1)
    low, high = student_interval(2.0, resampled, 4, LOGARITHMIC)
    assert (low, high) == pytest.approx(
        (2 * np.exp(-quantile * spread), 2 * np.exp(quantile * spread))
    )
    low, high = student_interval(0.9, np.array([0.85, 0.9, 1.0]), 4, fisher())
    assert -1 <= low < 0.9 < high <= 1


def test_there_is_no_interval_without_freedom_or_with_undefined_resamples():
    resampled = np.array([0.1, 0.2, np.nan, 0.3])
    assert student_interval(0.2, resampled, 3) == (None, None)
    assert student_interval(0.2, resampled[:2], 0) == (None, None)
    mostly = np.append(np.linspace(0, 1, 99), np.nan)
    assert student_interval(0.5, mostly, 3)[0] is not None


def test_the_p_value_is_the_level_at_which_the_interval_ends_at_zero():
    resampled = np.array([0.2, 0.5, 0.3, 0.6, 0.4])
    for scale in (LINEAR, fisher()):
        p_value = student_p_value(0.4, resampled, 4, scale)
        low, _ = student_interval(0.4, resampled, 4, scale, level=1 - p_value)
        assert low == pytest.approx(0, abs=1e-9)
        assert student_p_value(-0.4, resampled, 4, scale) == pytest.approx(p_value)
    assert student_p_value(0.0, resampled, 4) == 1


def test_resamples_that_do_not_vary_have_no_p_value():
    assert student_p_value(1.0, np.ones(50), 4, fisher()) is None
    assert student_p_value(0.5, np.array([0.1, np.nan]), 4) is None


def test_a_resample_of_exactly_1_does_not_make_the_interval_infinite():
    resampled = np.array([0.7, 0.8, 0.9, 1.0])
    low, high = student_interval(0.85, resampled, 8, fisher(0.02))
    assert -0.2 < low < 0.85 < high < 1
    assert student_interval(1.0, resampled, 8, fisher(0.02))[1] == 1.0
