import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.correlation import pearson
from orchestrator.statistics.grid.noise_ceiling import (
    attenuation,
    disattenuated,
    measure_reliability,
    noise_ceiling,
)
from orchestrator.statistics.intervals.estimate import Estimate
from tests.binomial import assert_covers, with_simulations

# Shrout and Fleiss 1979, table 2: six targets, four judges.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def simulated(generator, between, within, conditions, seeds):
    effects = generator.normal(size=conditions) * between
    values = effects[:, None] + generator.normal(size=(conditions, seeds)) * within
    return values.ravel(), np.repeat(np.arange(conditions), seeds)


def test_the_ceiling_equals_the_published_example():
    found = noise_ceiling(RATINGS.ravel(), np.repeat(np.arange(6), 4))
    assert found.reliability.value == pytest.approx(0.17, abs=0.005)
    assert (found.reliability.low, found.reliability.high) == pytest.approx((-0.13, 0.72), abs=0.01)
    assert found.correlation.value == pytest.approx(np.sqrt(found.reliability.value))
    assert found.correlation.low == 0


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # pingouin's own
def test_the_reliability_equals_pingouin():
    pandas, pingouin = pytest.importorskip("pandas"), pytest.importorskip("pingouin")
    condition = np.repeat(np.arange(8), 5)
    values = 0.4 * condition + np.random.default_rng(3).normal(size=40)
    frame = pandas.DataFrame(
        {"condition": condition, "seed": np.tile(np.arange(5), 8), "value": values}
    )
    row = pingouin.intraclass_corr(frame, "condition", "seed", "value").iloc[0]  # ICC(1)
    found = noise_ceiling(values, condition).reliability
    assert found.value == pytest.approx(row["ICC"], abs=1e-12)
    ends = next(row[name] for name in ("CI95", "CI95%") if name in row)
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=0.0051)  # It rounds them.


def test_known_variance_components_are_recovered_without_bias():
    generator = np.random.default_rng(0)
    between, within = 2.0, 1.0
    found = [noise_ceiling(*simulated(generator, between, within, 400, 3)) for _ in range(20)]
    assert np.mean([one.reliability.value for one in found]) == pytest.approx(0.8, abs=0.01)
    assert np.mean([one.within for one in found]) == pytest.approx(within, rel=0.02)
    assert np.mean([one.between for one in found]) == pytest.approx(between, rel=0.02)


@with_simulations(200, 4000)
@pytest.mark.parametrize(("between", "within"), [(0.0, 1.0), (1.0, 1.0), (3.0, 1.0)])
def test_the_interval_covers_the_truth(between, within, simulations):
    generator = np.random.default_rng(1)
    truth = between**2 / (between**2 + within**2)
    covered = 0
    for _ in range(simulations):
        one = noise_ceiling(*simulated(generator, between, within, 8, 3)).reliability
        covered += one.low <= truth <= one.high
    assert_covers(covered, simulations)


def test_no_function_of_the_condition_explains_more_than_the_ceiling():
    """Even the best one, the mean of many other seeds, stays at the ceiling."""
    generator = np.random.default_rng(2)
    effects = generator.normal(size=300)
    condition = np.repeat(np.arange(300), 4)
    gap = effects[condition] + 0.7 * generator.normal(size=1200)
    ceiling = noise_ceiling(gap, condition).correlation
    best = stats.pearsonr(effects[condition], gap).statistic
    assert ceiling.low < best < ceiling.high
    assert best == pytest.approx(ceiling.value, abs=0.03)


def test_variance_below_chance_is_reported_as_negative():
    found = noise_ceiling([0, 10, 0, 10, 1, 9], [0, 0, 1, 1, 2, 2])
    assert found.reliability.value < 0
    assert (found.correlation.value, found.between) == (0, 0)


def test_without_noise_the_reliability_is_1():
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
def test_a_missing_ceiling_gives_a_reason(values, condition, reason):
    found = noise_ceiling(values, condition)
    assert found.reliability.value is None
    assert reason in found.correlation.reason


def test_the_reliability_of_a_noisy_measure_predicts_its_attenuation():
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


def test_mean_squares_equal_those_of_the_analysis_of_variance():
    groups = [[1.0, 2.0, 4.0], [3.0, 7.0], [5.0, 5.5, 8.0, 9.0]]
    f = stats.f_oneway(*groups).statistic
    sizes = np.array([3, 2, 4])
    k = (9 - np.sum(sizes**2) / 9) / 2
    found = noise_ceiling(np.concatenate(groups), np.repeat([0, 1, 2], sizes))
    assert found.reliability.value == pytest.approx((f - 1) / (f + k - 1), abs=1e-12)
    within = sum(np.sum((np.array(one) - np.mean(one)) ** 2) for one in groups) / 6
    assert found.within == pytest.approx(np.sqrt(within))


@pytest.mark.parametrize("error", [np.inf, 1e200])
def test_a_useless_estimate_has_zero_reliability(error):
    assert measure_reliability([1, 2, 4], [0.1, 0.1, error]) == 0


def test_disattenuation_recovers_the_correlation_without_errors():
    generator = np.random.default_rng(4)
    n, errors = 20_000, (0.7, 0.4)
    x, noise = generator.normal(size=(2, n))
    y = 0.6 * x + 0.8 * noise
    noisy = [
        column + error * generator.normal(size=n)
        for column, error in zip((x, y), errors, strict=True)
    ]
    shares = [
        measure_reliability(column, np.full(n, error))
        for column, error in zip(noisy, errors, strict=True)
    ]
    observed = pearson(*noisy)
    found = disattenuated(observed, *shares)
    assert observed.high < 0.53
    assert found.value == pytest.approx(0.6, abs=0.01)
    assert found.low < 0.6 < found.high
    assert found.p_value == observed.p_value
    assert abs(observed.value) <= attenuation(*shares)


def test_an_impossible_disattenuation_gives_a_reason():
    r = Estimate(0.9, 0.8, None, 0.95, 10, 10, 1)
    beyond = disattenuated(r, 0.5, 0.5)
    assert (beyond.value, beyond.low, beyond.high) == pytest.approx((1.8, 1.6, None))
    assert disattenuated(r, None, 1).reason == "a reliability is unknown"
    for share in (0.0, -0.2):
        found = disattenuated(r, 1, share)
        assert (found.value, found.reason) == (None, "a reliability is not above 0")
    nothing = Estimate(None, None, None, 0.95, 0, 0, 0, "a column is constant")
    assert disattenuated(nothing, 1, 1) is nothing
