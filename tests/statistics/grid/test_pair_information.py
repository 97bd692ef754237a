import itertools

import numpy as np
import pytest

from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.grid.pair_information import JiangInformation
from tests.statistics.references import jiang_information


@pytest.fixture
def tied():
    codes = np.array(list(itertools.product(range(2), range(3), range(2))))[:-2]
    grid = Grid.of({name: codes[:, place].tolist() for place, name in enumerate("abc")})
    return grid, *np.random.default_rng(0).integers(0, 5, (2, 10)).astype(float)


def test_the_information_of_every_set_equals_brute_force(tied):
    grid, x, y = tied
    scorer = JiangInformation(y, grid)
    expected = jiang_information(x, y, grid.codes.tolist())
    named = {tuple("abc"[place] for place in places): one for places, one in expected.items()}
    assert dict(zip(scorer.sets, scorer.values(x[None])[0], strict=True)) == pytest.approx(named)
    untied = (x[:, None] != x) & (y[:, None] != y)
    assert scorer.compared(x) == untied.sum()


def test_a_set_that_determines_the_target_is_undefined():
    two = Grid.of({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]})
    values = JiangInformation(np.arange(4.0), two).values(np.array([[3.0, 1, 2, 0]]))[0]
    np.testing.assert_array_equal(np.isnan(values), [False, False, False, True])
    assert JiangInformation.smallest(values) == values[:3].min()
    assert np.isnan(JiangInformation.smallest(values[3:]))


def test_an_axis_of_one_level_adds_no_sets(tied):
    grid, _, y = tied
    more = Grid((*grid.axes, "d"), (*grid.levels, (1,)), np.pad(grid.codes, ((0, 0), (0, 1))))
    assert JiangInformation(y, more).sets == JiangInformation(y, grid).sets
