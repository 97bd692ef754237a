import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.pairs import Pairs
from tests.statistics.references import tau_a


@pytest.fixture
def tied():
    generator = np.random.default_rng(0)
    group = generator.integers(0, 6, 40)
    return group, *generator.integers(0, 4, (2, 40)).astype(float)


def test_taus_of_groups_equal_taus_computed_one_by_one(tied):
    group, x, y = tied
    pairs = Pairs.within(group)
    ones = np.ones((1, 40))
    for variant, reference in (
        ("a", tau_a),
        ("b", lambda x, y: stats.kendalltau(x, y).statistic),
    ):
        expected = [reference(x[group == one], y[group == one]) for one in range(6)]
        np.testing.assert_allclose(pairs.taus(x[None], y[None], ones, variant)[0], expected)


def test_points_with_zero_weight_are_left_out(tied):
    group, x, y = tied
    weights = np.random.default_rng(1).integers(0, 2, (3, 40)).astype(float)
    taus = Pairs.within(group).taus(x[None], y[None], weights, "a")
    for row, weight in zip(taus, weights, strict=True):
        for one, value in enumerate(row):
            inside = (group == one) & (weight > 0)
            expected = tau_a(x[inside], y[inside]) if inside.sum() > 1 else np.nan
            assert value == pytest.approx(expected, nan_ok=True)


def test_groups_of_one_are_counted_and_constant_groups_reported():
    pairs = Pairs.within(np.array([5, 7, 5, 9, 9]))
    assert (pairs.single, pairs.points, len(pairs.first)) == (1, 4, 2)
    x, y = np.array([1.0, 0, 1, 2, 3]), np.array([1.0, 0, 2, 3, 4])
    np.testing.assert_array_equal(pairs.constant(x, y), [True, False])
    taus_a = pairs.taus(x[None], y[None], np.ones((1, 5)), "a")
    taus_b = pairs.taus(x[None], y[None], np.ones((1, 5)), "b")
    np.testing.assert_array_equal(taus_a, [[0, 1]])
    np.testing.assert_array_equal(taus_b, [[np.nan, 1]])


def test_groups_without_a_pair_have_no_tau():
    for group in (np.array([0, 1, 2]), np.zeros(0, dtype=int)):
        values = np.zeros((2, len(group)))
        assert Pairs.within(group).taus(values, values, values, "a").shape == (2, 0)
