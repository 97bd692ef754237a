import itertools
import math

import numpy as np
import pytest

from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.grid.pgdl_score import PgdlInformation
from tests.statistics.references import pgdl_score

LETTERS = (("a", "b"), ("c", "d"), ("e", "f", "g"))
# Of the pairs 11 before 2 and 1 before 12 the texts are equal.
COLLIDING = ((1, 11), (2, 12), ("a", "b"))


def values_of(x, y, levels):
    columns = zip(*itertools.product(*levels), strict=True)
    grid = Grid.of({str(place): column for place, column in enumerate(columns)})
    return PgdlInformation(y, grid).values(x[None])[0]


def score(x, y, levels):
    return PgdlInformation.smallest(values_of(x, y, levels))


@pytest.mark.parametrize("seed", range(4))
def test_the_score_equals_brute_force_to_the_last_bit(seed):
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 4 if seed % 2 else 1000, (2, 12)).astype(float)
    assert score(x, y, LETTERS) == pgdl_score(x, y, LETTERS)


def test_perfect_reversed_useless_and_constant_measures_have_known_scores():
    """Random gaps of 12 networks (2 × 2 × 3) and of 36 (2 × 2 × 3 × 3)."""
    for levels, reverse, useless in (
        (LETTERS, 0.77, 0.166),
        ((*LETTERS, ("h", "i", "j")), 0.90, 0.027),
    ):
        networks = math.prod(len(axis) for axis in levels)
        found = []
        for seed in range(20):
            gap, noise = np.random.default_rng(seed).random((2, networks))
            assert score(gap, gap, levels) == pytest.approx(1, abs=1e-11)
            assert score(0 * gap, gap, levels) == 0
            found.append([score(-gap, gap, levels), score(noise, gap, levels)])
        assert np.mean(found, axis=0) == pytest.approx([reverse, useless], abs=0.01)


def test_two_hyperparameters_score_zero():
    gap = np.arange(6.0)
    assert score(gap, gap, LETTERS[1:]) == 0


def test_levels_that_collide_as_text_make_sets_undefined():
    x, y = np.random.default_rng(0).random((2, 8))
    assert np.isnan(values_of(x, y, COLLIDING)).sum() == 4
    assert score(x, y, COLLIDING) == pgdl_score(x, y, COLLIDING) > 0


def test_the_smallest_value_depends_on_the_place_of_a_nan():
    assert PgdlInformation.smallest(np.array([0.1, math.nan, 0.3])) == 0.3
    assert math.isnan(PgdlInformation.smallest(np.array([0.1, math.nan])))
    assert PgdlInformation.smallest(np.array([math.nan, 0.3, 0.2])) == 0.2
