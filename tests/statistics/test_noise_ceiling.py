import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.noise_ceiling import attenuation, measure_reliability, noise_ceiling

# Shrout and Fleiss 1979, table 2: six targets, four judges.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def simulated(generator, between, within, conditions, seeds):
    effects = generator.normal(size=conditions) * between
    values = effects[:, None] + generator.normal(size=(conditions, seeds)) * within
    return values.ravel(), np.repeat(np.arange(conditions), seeds)


def test_the_published_example():
    found = noise_ceiling(RATINGS.ravel(), np.repeat(np.arange(6), 4))
    assert found.reliability.value == pytest.approx(0.17, abs=0.005)
    assert (found.reliability.low, found.reliability.high) == pytest.approx((-0.13, 0.72), abs=0.01)
    assert found.correlation.value == pytest.approx(np.sqrt(found.reliability.value))
    assert found.correlation.low == 0


def test_recovers_known_variance_components_without_bias():
    generator = np.random.default_rng(0)
    between, within = 2.0, 1.0
    found = [noise_ceiling(*simulated(generator, between, within, 400, 3)) for _ in range(20)]
    assert np.mean([one.reliability.value for one in found]) == pytest.approx(0.8, abs=0.01)
    assert np.mean([one.within for one in found]) == pytest.approx(within, rel=0.02)
    assert np.mean([one.between for one in found]) == pytest.approx(between, rel=0.02)


@pytest.mark.parametrize(("between", "within"), [(0.0, 1.0), (1.0, 1.0), (3.0, 1.0)])
def test_interval_covers_the_truth(between, within):
    generator = np.random.default_rng(1)
    truth = between**2 / (between**2 + within**2)
    covered = 0
    for _ in range(400):
        one = noise_ceiling(*simulated(generator, between, within, 8, 3)).reliability
        covered += one.low <= truth <= one.high
    assert 0.92 <= covered / 400 <= 0.98


def test_no_function_of_the_condition_explains_more():
    """Even the best one, the mean of many other seeds, stays at the ceiling."""
    generator = np.random.default_rng(2)
    effects = generator.normal(size=300)
    condition = np.repeat(np.arange(300), 4)
    gap = effects[condition] + 0.7 * generator.normal(size=1200)
    ceiling = noise_ceiling(gap, condition).correlation
    best = stats.pearsonr(effects[condition], gap).statistic
    assert ceiling.low < best < ceiling.high
    assert best == pytest.approx(ceiling.value, abs=0.03)


def test_less_between_than_within_is_reported_as_it_is():
    found = noise_ceiling([0, 10, 0, 10, 1, 9], [0, 0, 1, 1, 2, 2])
    assert found.reliability.value < 0
    assert (found.correlation.value, found.between) == (0, 0)


def test_no_noise_at_all():
    found = noise_ceiling([1, 1, 2, 2, 5, 5], [0, 0, 1, 1, 2, 2])
    reliability = found.reliability
    assert (reliability.value, reliability.low, reliability.high) == (1, 1, 1)


def test_single_trials_and_missing_values_are_left_out_and_counted():
    found = noise_ceiling([1, 2, 4, 5, 9, np.nan, 7], ["a", "a", "b", "b", "c", "d", "d"])
    assert found.single == 2
    assert (found.reliability.n, found.reliability.n_excluded) == (4, 3)
    unequal = noise_ceiling([1, 2, 3, 7, 8], ["a", "a", "a", "b", "b"]).reliability
    assert 0 < unequal.value < 1


@pytest.mark.parametrize(
    ("values", "condition", "reason"),
    [
        ([1, 2, 3], [0, 1, 2], "fewer than two conditions"),
        ([1, 2], [0, 0], "fewer than two conditions"),
        ([3, 3, 3, 3], [0, 0, 1, 1], "nothing varies"),
        ([], [], "fewer than two conditions"),
    ],
)
def test_says_why_there_is_no_ceiling(values, condition, reason):
    found = noise_ceiling(values, condition)
    assert found.reliability.value is None
    assert reason in found.correlation.reason


def test_reliability_of_a_noisy_measure_and_what_it_does_to_correlations():
    generator = np.random.default_rng(3)
    true = generator.normal(size=20_000)
    noisy = true + 0.5 * generator.normal(size=20_000)
    reliability = measure_reliability(noisy, np.full(20_000, 0.5))
    assert reliability == pytest.approx(0.8, abs=0.01)
    assert stats.pearsonr(true, noisy).statistic == pytest.approx(
        attenuation(reliability, 1.0), abs=0.01
    )
    assert measure_reliability([1, 2, np.nan], [np.nan] * 3) == 1
    assert measure_reliability([1, 2], [50, 50]) == 0
    assert measure_reliability([1], [0]) is None
    assert measure_reliability([2, 2], [0, 0]) is None
    assert attenuation(None, 0.5) is None
    assert attenuation(-0.5, 0.5) == 0
