import numpy as np

from orchestrator.statistics.grid.environments import Environments
from orchestrator.statistics.grid.hyperparameter_grid import Grid


def test_environments_are_all_pairs_of_conditions_with_one_difference():
    grid = Grid.of({"batch": [16, 16, 64, 64, 16, 64], "width": [1, 1, 1, 1, 2, 2]})
    found = Environments.of(grid)
    assert len(found) == 4  # 16 and 64 at both widths, 1 and 2 at both batch sizes
    pairs = [set() for _ in range(4)]
    stops = [*found.starts[1:], len(found.trial)]
    for place, (start, stop) in enumerate(zip(found.starts, stops, strict=True)):
        pairs[place] = set(
            zip(found.trial[start:stop].tolist(), found.other[start:stop].tolist(), strict=True)
        )
    assert {(0, 2), (0, 3), (1, 2), (1, 3)} in pairs
    assert {(4, 5)} in pairs
    assert {(0, 4), (1, 4)} in pairs
    assert {(2, 5), (3, 5)} in pairs
    np.testing.assert_array_equal(found.sums(np.ones(len(found.trial))), [len(p) for p in pairs])


def test_a_grid_of_one_condition_has_no_environments():
    found = Environments.of(Grid.of({"batch": [16, 16]}))
    assert len(found) == 0
    assert found.sums(np.zeros((3, 0))).shape == (3, 0)


def test_sums_under_weights_are_those_of_all_pairs():
    draw = np.random.default_rng(0)
    for _ in range(30):
        rows = draw.integers(4, 60)
        grid = Grid.of({"a": draw.integers(0, 3, rows).tolist(), "b": draw.integers(0, 4, rows)})
        environments = Environments.of(grid)
        weights = draw.integers(0, 4, (20, rows)).astype(float)
        values = draw.random((2, len(environments.trial)))
        pairs = weights[:, environments.trial] * weights[:, environments.other]
        places = np.flatnonzero(draw.random(len(environments)) < 0.7)
        np.testing.assert_allclose(
            environments.weighted_sums(values, places, weights),
            np.stack([environments.sums(pairs * one)[:, places] for one in values]),
            rtol=1e-12,
            atol=1e-12,
        )
