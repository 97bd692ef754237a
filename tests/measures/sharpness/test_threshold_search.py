from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.measures.sharpness.threshold_search import (
    Threshold,
    censored_reason,
    largest_withstood,
)


@given(st.floats(1e-9, 1.99), st.sampled_from([0.5, 0.1, 1e-6]))
def test_the_search_finds_a_threshold_within_half_the_tolerance(
    threshold: float, tolerance: float
) -> None:
    found = largest_withstood(lambda size: size > threshold, largest=2.0, tolerance=tolerance)
    assert found.censored is None
    assert found.value == pytest.approx(threshold, rel=tolerance / 2 + 1e-12)


def test_thresholds_beyond_the_bounds_are_censored() -> None:
    assert largest_withstood(lambda _: False, largest=2.0, tolerance=0.1) == Threshold(2.0, "above")
    found = largest_withstood(lambda _: True, largest=2.0, tolerance=0.1)
    assert found == Threshold(2.0 * 2**-40, "below")


def test_of_several_thresholds_the_largest_is_found() -> None:
    found = largest_withstood(
        lambda size: 0.01 < size < 0.2 or size > 0.7, largest=2.0, tolerance=1e-4
    )
    assert found.value == pytest.approx(0.7, rel=1e-4)


def test_the_reason_of_a_censored_threshold_names_the_bound() -> None:
    assert censored_reason(Threshold(0.3, None), "σ", 0.1) is None
    assert censored_reason(Threshold(2.0, "above"), "σ", 0.1) == (
        "censored: at σ = 2, the largest tried, the accuracy falls by at most 0.1"
    )
    assert censored_reason(Threshold(1e-9, "below"), "α", 0.25) == (
        "censored: at α = 1e-09, the smallest tried, the accuracy falls by more than 0.25"
    )
