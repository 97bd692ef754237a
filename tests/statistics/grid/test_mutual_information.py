import itertools

import numpy as np
import pytest

from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.grid.mutual_information import conditional_information

ROWS = list(itertools.product(("a", "b"), ("c", "d"), ("e", "f", "g")))


def grid_of(rows):
    return Grid.of(dict(zip(("width", "depth", "loss"), zip(*rows, strict=True), strict=True)))


GRID = grid_of(ROWS)


@pytest.fixture
def gap():
    return np.random.default_rng(0).random(12)


@pytest.mark.parametrize("mode", ["jiang", "pgdl"])
def test_a_perfect_measure_is_significant_and_a_useless_one_is_not(mode, gap):
    perfect = conditional_information(gap, gap, GRID, mode, 99)
    assert perfect.value == pytest.approx(1, abs=1e-10)
    assert perfect.null.p_value == 0.01
    assert 0 < perfect.null.mean < perfect.null.quantile < 0.5
    assert perfect.null.permutations == 99
    useless = [
        conditional_information(np.random.default_rng(seed).random(12), gap, GRID, mode, 39, seed)
        for seed in range(1, 41)
    ]
    assert 0.3 < np.mean([one.null.p_value for one in useless]) < 0.7


def test_information_ignores_the_sign(gap):
    assert conditional_information(-gap, gap, GRID, "jiang", 9).value == pytest.approx(1)


def test_the_value_is_the_minimum_over_sets_of_hyperparameters(gap):
    """A measure that is a hyperparameter tells nothing once that one is known."""
    width = np.array([float(row[0] == "b") for row in ROWS])
    result = conditional_information(width, 0.5 * width + gap, GRID, "jiang", 19)
    named = dict(result.sets)
    assert result.value == min(value for value in named.values() if np.isfinite(value))
    assert named[()] > 0.2
    assert named["width",] == pytest.approx(0, abs=1e-12)
    assert result.value == pytest.approx(0, abs=1e-12)


def test_ties_are_dropped_and_counted_in_jiang_mode_only(gap):
    tied = np.round(gap, 1)
    jiang = conditional_information(tied, gap, GRID, "jiang", 9)
    pgdl = conditional_information(tied, gap, GRID, "pgdl", 9)
    assert jiang.n_tied == np.sum(tied[:, None] == tied) - 12
    assert jiang.n_pairs + jiang.n_tied == 12 * 11
    assert (pgdl.n_pairs, pgdl.n_tied) == (144, 0)


def test_seeds_are_averaged_first(gap):
    twice = grid_of([row for row in ROWS for _ in range(2)])
    spread = np.repeat(gap, 2) + np.tile([0.5, -0.5], 12)
    once = conditional_information(gap, gap, GRID, "jiang", 9)
    again = conditional_information(spread, np.repeat(gap, 2), twice, "jiang", 9)
    assert again.value == pytest.approx(once.value)
    assert again.n == 12


def test_a_constant_measure_is_undefined_or_zero(gap):
    jiang = conditional_information(np.ones(12), gap, GRID, "jiang", 9)
    assert (jiang.value, jiang.null, jiang.n_tied) == (None, None, 132)
    assert jiang.reason == "no set of hyperparameters leaves the order of the target open"
    assert conditional_information(np.ones(12), gap, GRID, "pgdl", 9).value == 0


def test_missing_values_and_levels_are_reported(gap):
    measure = gap.copy()
    measure[3] = np.inf
    pgdl = conditional_information(measure, gap, GRID, "pgdl", 9)
    assert pgdl.reason.startswith("1 of 12 combinations of levels are missing")
    assert (pgdl.value, pgdl.n, pgdl.n_excluded) == (None, 11, 1)
    jiang = conditional_information(measure, gap, GRID, "jiang", 9)
    assert jiang.value is not None
    assert jiang.n_excluded == 1
    few = conditional_information(gap[:2], gap[:2], Grid.of({"a": [1, 2]}), "jiang", 9)
    assert few.reason == "2 conditions; at least 3 are needed"
    one = conditional_information(gap[:3], gap[:3], Grid.of({"a": [1, 2, 3]}), "pgdl", 9)
    assert one.reason == "the PGDL score needs at least two hyperparameters"


def test_an_undefined_score_gives_a_reason(gap):
    rows = list(itertools.product((1, 11, 111), (1, 11), (2, 3)))
    grid = Grid.of({str(place): column for place, column in enumerate(zip(*rows, strict=True))})
    result = conditional_information(gap, gap, grid, "pgdl", 9)
    assert (result.value, result.null, result.n_undefined) == (None, None, 6)
    assert "collide" in result.reason


def test_equal_seeds_give_equal_null_distributions(gap):
    noise = np.random.default_rng(1).random(12)
    once = conditional_information(noise, gap, GRID, "jiang", 20, seed=1)
    assert once == conditional_information(noise, gap, GRID, "jiang", 20, seed=1)
    assert once.null != conditional_information(noise, gap, GRID, "jiang", 20, seed=2).null


def test_unequal_lengths_and_zero_permutations_are_refused(gap):
    with pytest.raises(ValueError, match="3 values, 12 grid rows"):
        conditional_information(gap[:3], gap[:3], GRID)
    with pytest.raises(ValueError, match="permutations must be at least 1"):
        conditional_information(gap, gap, GRID, permutations=0)
