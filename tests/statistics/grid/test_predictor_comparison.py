import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.grid.granulated import granulated_kendall, granulated_resamples
from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.grid.predictor_comparison import (
    compare_granulated,
    compare_predictors,
)
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.resampling import Resampling

N = 40
GROUPS = Groups.of(range(N), np.repeat(range(10), 4).tolist())


@pytest.fixture
def networks():
    generator = np.random.default_rng(2)
    gap = generator.normal(size=N)
    good = -gap + 0.3 * generator.normal(size=N)
    bad = generator.normal(size=N)
    return good, bad, gap


def test_the_advantage_compares_magnitudes_of_tau(networks):
    good, bad, gap = networks
    found = compare_predictors(good, bad, gap, GROUPS)
    first, second = (stats.kendalltau(measure, gap).statistic for measure in (good, bad))
    assert found.first.value == pytest.approx(first)
    assert found.advantage.value == pytest.approx(abs(first) - abs(second))
    assert 0 < found.advantage.low < found.advantage.value < found.advantage.high <= 1


def test_a_measure_and_its_rescaled_copy_have_no_difference(networks):
    good, _, gap = networks
    found = compare_predictors(good, -2 * good + 1, gap, GROUPS).advantage
    assert found.value == pytest.approx(0, abs=1e-15)
    assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-12)


def test_measures_with_common_errors_have_a_narrow_interval_of_the_difference(networks):
    """The difference is known better than the two intervals, taken apart, would say."""
    good, _, gap = networks
    noise = np.random.default_rng(4).normal(size=N)
    found = compare_predictors(good, good + 0.1 * noise, gap, GROUPS)
    widths = [one.high - one.low for one in (found.first, found.second)]
    assert found.advantage.high - found.advantage.low < 0.6 * min(widths)


def test_nonfinite_rows_are_left_out_for_both(networks):
    good, bad, gap = networks
    good, bad, gap = good.copy(), bad.copy(), gap.copy()
    good[0], bad[1], gap[2] = np.nan, np.inf, np.nan
    found = compare_predictors(good, bad, gap, GROUPS)
    assert (found.advantage.n, found.advantage.n_excluded, found.first.n) == (N - 3, 3, N - 3)


@pytest.mark.parametrize(
    ("rows", "constant", "reason"),
    [(3, False, "at least 4"), (N, True, "constant")],
)
def test_a_missing_comparison_gives_a_reason(networks, rows, constant, reason):
    good, bad, gap = (column[:rows] for column in networks)
    bad = np.zeros(rows) if constant else bad
    groups = GROUPS.select(np.arange(N) < rows)
    found = compare_predictors(good, bad, gap, groups).advantage
    assert found.value is None
    assert reason in found.reason


FEW = Resampling(resamples=200)
SEEDS = 3
BATCHES, WIDTHS = np.repeat([16, 64, 256], 4 * SEEDS), np.tile(np.repeat([1, 2, 4, 8], SEEDS), 3)
GRID = Grid.of({"batch": BATCHES.tolist(), "width": WIDTHS.tolist()})
SEED = np.tile(range(SEEDS), 12).tolist()


@pytest.fixture
def grid_study():
    """One measure follows both hyperparameters as the gap does, the other the batch size alone."""
    generator = np.random.default_rng(0)
    gap = np.log2(BATCHES) + np.log2(WIDTHS) + 0.2 * generator.normal(size=len(SEED))
    good = -gap + 0.2 * generator.normal(size=len(SEED))
    follower = np.log2(BATCHES) + 0.2 * generator.normal(size=len(SEED))
    return good, follower, gap


@pytest.mark.parametrize("seeds", ["averaged", "axis"])
def test_the_granulated_advantage_compares_magnitudes_of_psi(grid_study, seeds):
    good, follower, gap = grid_study
    found = compare_granulated(good, follower, gap, GRID, SEED, seeds, resampling=FEW)
    for one, measure in ((found.first, good), (found.second, follower)):
        alone = granulated_kendall(measure, gap, GRID, SEED, seeds, resampling=FEW)
        assert one == alone.overall
    expected = abs(found.first.value) - abs(found.second.value)
    assert found.advantage.value == pytest.approx(expected, abs=1e-15)
    assert 0 < found.advantage.low < expected < found.advantage.high <= 1


def test_granulated_tau_separates_measures_that_pooled_tau_does_not():
    """A measure that only knows the batch size can look good where that drives the gap."""
    generator = np.random.default_rng(1)
    gap = 3 * np.log2(BATCHES) - np.log2(WIDTHS) + 0.1 * generator.normal(size=len(SEED))
    follower = np.log2(BATCHES)
    honest = gap + 2 * generator.normal(size=len(SEED))
    groups = Groups.of(range(len(SEED)), GRID.condition.tolist())
    pooled = compare_predictors(follower, honest, gap, groups, FEW).advantage
    granulated = compare_granulated(follower, honest, gap, GRID, SEED, resampling=FEW)
    assert pooled.value > 0
    assert granulated.first.value == 0.5  # 1 along the batch size, 0 along the width.
    assert granulated.advantage.value < 0


def test_granulated_resamples_are_drawn_jointly(grid_study):
    good, _, gap = grid_study
    good = good + np.random.default_rng(3).normal(size=len(good))
    one, _ = granulated_resamples(np.stack([good, gap]), GRID, SEED, resampling=FEW)
    copy, _ = granulated_resamples(np.stack([3 * good + 1, gap]), GRID, SEED, resampling=FEW)
    np.testing.assert_allclose(one, copy, atol=1e-12)
    assert np.std(one) > 0
    found = compare_granulated(good, -5 * good, gap, GRID, SEED, resampling=FEW).advantage
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_granulated_comparisons_leave_out_the_same_rows_for_both(grid_study):
    good, follower, gap = grid_study
    good[0], follower[1], gap[2] = np.nan, np.inf, np.nan
    found = compare_granulated(good, follower, gap, GRID, SEED, resampling=FEW)
    assert (found.first.n_excluded, found.second.n_excluded) == (3, 3)
    assert (found.advantage.n_excluded, found.first.n) == (3, 11)  # One condition has no seed left.


def test_a_missing_granulated_comparison_gives_a_reason(grid_study):
    good, follower, gap = grid_study
    found = compare_granulated(np.full(36, np.nan), follower, gap, GRID, SEED, resampling=FEW)
    assert found.advantage.value is None
    assert "differ in only one respect" in found.advantage.reason
    single = np.array(SEED) == 0
    none = compare_granulated(
        *(column[single][:2] for column in (good, follower, gap)),
        Grid.of({"batch": [16, 64]}),
        [0, 0],
        resampling=FEW,
    )
    assert none.advantage.value == 0
    assert none.advantage.reason == "no interval from 2 trials"
    with pytest.raises(ValueError, match="36 values, 36 grid rows, 1 seeds"):
        compare_granulated(good, follower, gap, GRID, [0])
