import itertools

import numpy as np
import pytest

from orchestrator.statistics.grid.granulated import granulated_kendall, within_kendall
from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.resampling import Resampling
from tests.binomial import assert_covers, with_simulations
from tests.statistics.references import tau_a

FEW = Resampling(resamples=200)


def full_grid(shape, seeds):
    """Rows of a complete grid: columns by name, and the seed of each row."""
    table = np.array(list(itertools.product(*map(range, shape), range(seeds))))
    columns = {f"axis_{place}": table[:, place].tolist() for place in range(len(shape))}
    return columns, table[:, -1].tolist()


def by_hand(x, y, columns, seed):
    """ψ of each axis by loops, the seed being one more thing that groups have in common."""
    psi = {}
    for axis in columns:
        others = [columns[name] for name in columns if name != axis] + [seed]
        key = list(zip(*others, strict=True))
        taus = []
        for group in dict.fromkeys(key):
            rows = [row for row, one in enumerate(key) if one == group]
            if len(rows) > 1:
                taus.append(tau_a(x[rows], y[rows]))
        psi[axis] = np.mean(taus)
    return psi


@pytest.fixture
def noisy():
    columns, seed = full_grid((3, 2, 4), 3)
    generator = np.random.default_rng(0)
    x = generator.integers(0, 7, len(seed)).astype(float)
    return x, x + generator.integers(0, 7, len(seed)), columns, seed


def test_psi_with_the_seed_as_an_axis_equals_brute_force(noisy):
    x, y, columns, seed = noisy
    result = granulated_kendall(x, y, Grid.of(columns), seed, "axis", resampling=FEW)
    expected = by_hand(x, y, columns, seed)
    assert {one.axis: one.estimate.value for one in result.axes} == pytest.approx(expected)
    assert result.overall.value == pytest.approx(np.mean(list(expected.values())))
    assert result.overall.low < result.overall.value < result.overall.high
    assert (result.seeds, result.variant, result.overall.n_groups) == ("axis", "a", 3)
    assert [one.groups for one in result.axes] == [24, 36, 18]


def test_psi_with_averaged_seeds_is_computed_from_means(noisy):
    x, y, columns, seed = noisy
    result = granulated_kendall(x, y, Grid.of(columns), seed, resampling=FEW)
    means = {name: column[::3] for name, column in columns.items()}
    mean_x, mean_y = x.reshape(-1, 3).mean(axis=1), y.reshape(-1, 3).mean(axis=1)
    expected = by_hand(mean_x, mean_y, means, [0] * 24)
    assert {one.axis: one.estimate.value for one in result.axes} == pytest.approx(expected)
    assert (result.overall.n, result.overall.n_groups) == (24, 72)
    assert result.overall.low < result.overall.value < result.overall.high


def test_intervals_with_averaged_seeds_equal_those_of_resampled_trials():
    """Where each condition has two seeds, a resample takes one of the two."""
    columns, seed = full_grid((3,), 2)
    x, y = np.array([1.0, 5, 2, 3, 4, 4]), np.array([1.0, 2, 4, 3, 5, 0])
    result = granulated_kendall(
        x, y, Grid.of(columns), seed, resampling=Resampling(resamples=20_000)
    )
    drawn = [[a, 2 + b, 4 + c] for a, b, c in itertools.product(range(2), repeat=3)]
    taus = np.clip([tau_a(x[rows], y[rows]) for rows in drawn], -1 + 1 / 3, 1 - 1 / 3)
    estimate = result.axes[0].estimate
    spread = np.std(np.arctanh(taus))
    half_width = np.arctanh(estimate.high) - np.arctanh(estimate.value)
    assert half_width == pytest.approx(3.182446 * spread, rel=0.02)


@with_simulations(100, 2000)
@pytest.mark.parametrize("seeds", ["averaged", "axis"])
def test_intervals_cover_the_mean_of_studies_with_other_seeds(seeds, simulations):
    shape = (3, 3, 2)
    columns, seed = full_grid(shape, 3)
    grid, generator = Grid.of(columns), np.random.default_rng(5)
    mean_x, other = generator.normal(size=(2, *shape))
    mean_y = 0.6 * mean_x + 0.8 * other
    of_trial = tuple(np.array(column) for column in columns.values())

    def simulated(number):
        noise_x, noise_y = generator.normal(size=(2, len(seed)))
        x, y = mean_x[of_trial] + noise_x, mean_y[of_trial] + noise_y
        resampling = Resampling(resamples=200, seed=number)
        return granulated_kendall(x, y, grid, seed, seeds, resampling=resampling).overall

    found = [simulated(number) for number in range(simulations)]
    truth = np.mean([one.value for one in found])
    assert 0.1 < truth < 0.7  # Far from its ends.
    covered = sum(one.low <= truth <= one.high for one in found)
    assert_covers(covered, simulations, widest=0.985)


def test_one_hyperparameter_can_determine_the_pooled_but_not_the_granulated_tau():
    columns, seed = full_grid((4, 4), 3)
    first = np.array(columns["axis_0"])
    noise = np.random.default_rng(0).normal(size=(2, len(seed)))
    x, y = 10.0 * first + noise[0], 10.0 * first + noise[1]
    result = granulated_kendall(x, y, Grid.of(columns), seed, resampling=FEW)
    assert result.axes[0].estimate.value == 1
    assert abs(result.axes[1].estimate.value) < 0.5


def test_a_measure_that_ignores_an_axis_has_psi_zero_or_undefined_there():
    columns, seed = full_grid((3, 3), 1)
    x, y = np.array(columns["axis_0"], dtype=float), np.arange(9.0)
    with_a = granulated_kendall(x, y, Grid.of(columns), seed, resampling=FEW).axes[1]
    with_b = granulated_kendall(x, y, Grid.of(columns), seed, variant="b", resampling=FEW)
    assert (with_a.estimate.value, with_a.groups, with_a.constant) == (0, 3, 3)
    assert (with_b.axes[1].groups, with_b.axes[1].constant) == (0, 3)
    assert with_b.axes[1].estimate.reason == "no points with a defined τ differ in only one respect"
    assert with_b.overall.value == with_b.axes[0].estimate.value == 1


def test_groups_of_one_in_an_incomplete_grid_are_counted():
    grid = Grid.of({"width": [1, 1, 2, 3], "depth": [1, 2, 1, 2]})
    result = granulated_kendall([1, 2, 3, 4], [1, 2, 3, 4], grid, [0] * 4, resampling=FEW)
    assert [(one.groups, one.single, one.estimate.n) for one in result.axes] == [
        (2, 0, 4),
        (1, 2, 2),
    ]
    assert grid.n_missing == 2


def test_an_axis_of_one_level_is_ignored():
    grid = Grid.of({"width": [1, 2, 3], "depth": [1, 1, 1]})
    result = granulated_kendall([1, 2, 3], [1, 3, 2], grid, [0] * 3, resampling=FEW)
    assert [one.axis for one in result.axes] == ["width"]


def test_nonfinite_rows_are_counted():
    columns, seed = full_grid((3,), 2)
    x = np.array([1, np.inf, 2, 2, np.nan, np.nan])
    result = granulated_kendall(x, np.arange(6.0), Grid.of(columns), seed, resampling=FEW)
    assert (result.overall.value, result.overall.n, result.overall.n_excluded) == (1, 2, 3)


def test_psi_is_undefined_without_finite_values():
    columns, seed = full_grid((3,), 2)
    nothing = np.full(6, np.nan)
    for seeds in ("averaged", "axis"):
        result = granulated_kendall(nothing, nothing, Grid.of(columns), seed, seeds, resampling=FEW)
        assert (result.overall.value, result.axes) == (None, ())
        assert result.overall.n_excluded == 6


def test_two_seeds_give_no_interval():
    columns, seed = full_grid((3,), 2)
    x = np.arange(6.0)
    result = granulated_kendall(x, x, Grid.of(columns), seed, "axis", resampling=FEW)
    assert (result.overall.value, result.overall.reason) == (1, "no interval from 2 seeds")


def test_a_trial_given_twice_is_refused():
    grid = Grid.of({"width": [1, 1, 2]})
    with pytest.raises(ValueError, match="two rows of one seed"):
        granulated_kendall([1, 2, 3], [1, 2, 3], grid, [0, 0, 0])
    with pytest.raises(ValueError, match="3 values, 3 grid rows, 2 seeds"):
        granulated_kendall([1, 2, 3], [1, 2, 3], grid, [0, 0])
    with pytest.raises(ValueError, match="a trial has two rows"):
        within_kendall([1, 2], [1, 2], Groups.of(["t", "t"], ["c", "c"]))


def test_within_conditions_tau_compares_the_seeds():
    generator = np.random.default_rng(2)
    condition = np.repeat(np.arange(5), [4, 3, 3, 1, 4])
    x, y = generator.normal(size=(2, 15)) + 10 * condition
    result = within_kendall(x, y, Groups.of(range(15), condition.tolist()), resampling=FEW)
    taus = [tau_a(x[condition == one], y[condition == one]) for one in (0, 1, 2, 4)]
    assert result.estimate.value == pytest.approx(np.mean(taus))
    assert (result.axis, result.groups, result.single) == ("seed", 4, 1)
    assert (result.estimate.n, result.estimate.n_groups) == (14, 5)
    assert result.estimate.low < result.estimate.value < result.estimate.high


def test_equal_seeds_give_equal_intervals_in_any_order(noisy):
    x, y, columns, seed = noisy
    once = granulated_kendall(x, y, Grid.of(columns), seed, resampling=FEW)
    assert once == granulated_kendall(x, y, Grid.of(columns), seed, resampling=FEW)
    order = np.arange(len(x))[::-1]
    turned = {name: [column[row] for row in order] for name, column in columns.items()}
    again = granulated_kendall(
        x[order], y[order], Grid.of(turned), [seed[row] for row in order], resampling=FEW
    )
    assert again.overall.value == pytest.approx(once.overall.value)
