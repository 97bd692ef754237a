from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.measures import kaplan_meier


def test_the_textbook_example_is_reproduced() -> None:
    """Six remissions in weeks, three of them censored: products by hand."""
    times = np.array([6.0, 6.0, 7.0, 10.0, 13.0, 16.0])
    censored = np.array([False, True, False, True, False, True])
    found = kaplan_meier(times, censored)
    assert found.times.tolist() == [6, 7, 13]
    assert found.surviving == pytest.approx([5 / 6, 5 / 6 * 3 / 4, 5 / 6 * 3 / 4 * 1 / 2])
    assert found.quantile(0.5) == 13
    assert found.quantile(0.9) == inf


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.floats(0.01, 1.0))
def test_without_censoring_quantiles_are_order_statistics(values: list[int], share: float) -> None:
    distances = np.array(values, dtype=float)
    found = kaplan_meier(distances, np.zeros(len(values), dtype=bool))
    expected = next(v for v in sorted(values) if np.mean(distances <= v) >= share - 1e-12)
    assert found.quantile(share) == expected


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=10))
def test_survival_is_the_product_over_examples_at_risk(rows: list[tuple[int, bool]]) -> None:
    found = kaplan_meier(np.array([float(t) for t, _ in rows]), np.array([c for _, c in rows]))
    surviving = 1.0
    for time, after in zip(found.times, found.surviving, strict=True):
        at_risk = sum(t >= time for t, _ in rows)
        surviving *= 1 - sum(t == time and not c for t, c in rows) / at_risk
        assert after == pytest.approx(surviving)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=30).filter(
        lambda rows: not all(censored for _, censored in rows)
    )
)
def test_survival_and_its_median_equal_scipy(rows: list[tuple[int, bool]]) -> None:
    times, censored = np.array([float(t) for t, _ in rows]), np.array([c for _, c in rows])
    found = kaplan_meier(times, censored)
    reference = stats.ecdf(stats.CensoredData.right_censored(times, censored)).sf
    assert found.surviving == pytest.approx(reference.evaluate(found.times))
    reached = reference.quantiles[reference.probabilities <= 0.5 + 1e-12]
    assert found.quantile(0.5) == (reached[0] if len(reached) else inf)


def test_fully_censored_times_have_no_quantile() -> None:
    found = kaplan_meier(np.array([1.0, 2.0]), np.array([True, True]))
    assert (len(found.times), found.quantile(0.01)) == (0, inf)


def test_infinite_distances_keep_their_rank() -> None:
    """As scipy's estimate of their ranks: it refuses the distances themselves."""
    distances = np.array([-inf, 1.0, 2.0, 2.0, inf, inf])
    censored = np.array([False, False, True, False, True, False])
    found = kaplan_meier(distances, censored)
    with pytest.raises(ValueError, match="inf"):
        stats.CensoredData.right_censored(distances, censored)
    ranks = np.unique(distances, return_inverse=True)[1]
    reference = stats.ecdf(stats.CensoredData.right_censored(ranks, censored)).sf
    assert found.times.tolist() == [-inf, 1, 2, inf]
    assert found.surviving == pytest.approx(reference.evaluate(np.arange(4)))
    assert [found.quantile(share) for share in (0.1, 0.3, 0.5, 0.6)] == [-inf, 1, 2, inf]


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        kaplan_meier(np.array([1.0, np.nan]), np.array([False, False]))
