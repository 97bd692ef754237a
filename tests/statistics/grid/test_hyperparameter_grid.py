import numpy as np
import pytest

from orchestrator.statistics.grid.hyperparameter_grid import Grid, lines


@pytest.fixture
def grid():
    return Grid.of({"width": [8, 8, 16, 16, 16], "batch_size": ["a", "b", "a", "a", "c"]})


def test_rows_of_equal_levels_form_one_condition(grid):
    assert grid.levels == ((8, 16), ("a", "b", "c"))
    np.testing.assert_array_equal(grid.condition, [0, 1, 2, 2, 3])
    np.testing.assert_array_equal(grid.conditions, [[0, 0], [0, 1], [1, 0], [1, 2]])
    assert grid.label(grid.conditions[3]) == {"width": 16, "batch_size": "c"}


def test_missing_conditions_are_counted(grid):
    assert grid.n_missing == 2  # (8, c) and (16, b)
    assert grid.varying == (0, 1)


def test_select_drops_levels_without_rows(grid):
    kept = grid.select(np.array([True, True, False, False, False]))
    assert kept.levels == ((8,), ("a", "b"))
    assert kept.varying == (1,)
    assert kept.n_missing == 0
    nothing = grid.select(np.zeros(5, dtype=bool))
    assert (nothing.rows, len(nothing.condition), len(nothing.conditions)) == (0, 0, 0)


def test_lines_vary_along_one_axis(grid):
    np.testing.assert_array_equal(lines(grid.codes, 0), [0, 1, 0, 0, 2])
    np.testing.assert_array_equal(lines(grid.codes, 1), [0, 0, 1, 1, 1])


def test_levels_of_different_types_are_distinct():
    assert Grid.of({"optimizer": ["1", 1, None]}).levels == (("1", 1, None),)


@pytest.mark.parametrize("columns", [{}, {"a": [1], "b": [1, 2]}])
def test_columns_must_have_equal_lengths(columns):
    with pytest.raises(ValueError, match="columns of one length"):
        Grid.of(columns)


def test_conditions_are_not_compared_along_an_axis_of_jointly_drawn_values():
    columns = {"drawn": [0, 0, 1, 1, 2], "width": [8, 16, 8, 16, 16]}
    grid = Grid.of(columns, joint=["drawn", "no axis"])
    assert grid.varying == (1,)
    assert grid.joint == grid.select(np.array([0, 1, 2])).joint == {"drawn"}
    assert len(grid.conditions) == 5
