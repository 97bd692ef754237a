from __future__ import annotations

from math import isnan

import pytest
import torch

from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import displaced
from orchestrator.measures.sharpness.worst_case_radius import WorstCaseRadius
from orchestrator.study.measure_options.sharpness import WorstCaseRadiusOptions
from tests.measures.cases import case
from tests.measures.sharpness.accurate import (
    accurate_context,
    overflowing,
    threshold_context,
    trained_context,
)


def measured(context: MeasureContext, **given: object) -> Value:
    options = WorstCaseRadiusOptions(name="worst_case_radius", **given)
    radius, inverse = WorstCaseRadius(options).compute(context)
    assert (inverse.measure, inverse.variant) == ("inverse_square_radius", radius.variant)
    assert isnan(radius.value) or inverse.value == pytest.approx(radius.value**-2)
    assert radius.standard_error is inverse.standard_error is None
    assert radius.reason == inverse.reason
    return radius


@pytest.mark.parametrize("drop", [0.1, 0.35])
def test_the_radius_of_a_threshold_classifier_has_a_closed_form(
    drop: float,
) -> None:
    """w falls by α: all x > w − α are lost."""
    points = torch.linspace(-1.0, 0.4, 20)
    context = threshold_context(0.5, points)
    # One more than drop · 20 examples may not be lost.
    expected = 0.5 - points.flip(0)[int(drop * 20)].item()
    found = measured(context, accuracy_drop=drop, tolerance=1e-4)
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert (found.variant, found.reason) == (f"drop={drop}", None)
    found = measured(context, accuracy_drop=drop, tolerance=1e-4, magnitude_aware=True)
    assert found.value == pytest.approx((expected - 1e-3) / 0.5, rel=1e-4)
    assert found.variant == f"drop={drop}, magnitude_aware"


@pytest.mark.parametrize("magnitude_aware", [False, True])
@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh"])
def test_no_random_corner_of_a_box_within_the_radius_breaks_accuracy(
    name: str, magnitude_aware: bool
) -> None:
    context = trained_context(name)
    radius = measured(context, magnitude_aware=magnitude_aware).value
    theta = context.parameter_vector()
    box = radius * theta.abs() + 1e-3 if magnitude_aware else radius * torch.ones_like(theta)
    before = displaced(context, 0 * theta).error
    for index in range(50):
        corner = 0.98 * box * context.probe(index)
        assert displaced(context, corner).error - before <= 0.1 + 1e-12


def test_more_steps_do_not_increase_the_radius() -> None:
    context = accurate_context("cnn")
    assert measured(context, steps=40).value <= measured(context, steps=1).value * 1.02


def test_a_radius_beyond_the_largest_tried_is_censored() -> None:
    found = measured(case("certain").context(), largest=3.0)
    assert found.value == 3
    assert found.reason.startswith("censored: at α = 3, the largest tried")


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_the_magnitude_aware_radius_is_invariant_to_rescaling(alpha: float) -> None:
    model = case("mlp_without_bias").model().double()

    def both() -> list[float]:
        context = accurate_context(model)
        return [
            measured(context, magnitude_aware=aware, epsilon=0).value for aware in (True, False)
        ]

    before = both()
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
    after = both()
    assert after[0] == pytest.approx(before[0], rel=1e-9)
    assert after[1] != pytest.approx(before[1], rel=0.03)


def test_the_size_of_passes_does_not_change_the_radius() -> None:
    once, divided = (
        measured(accurate_context("mlp", examples_per_pass=size)).value for size in (1000, 7)
    )
    assert divided == pytest.approx(once, rel=1e-12)


def test_a_nonfinite_loss_counts_as_broken_accuracy() -> None:
    context = accurate_context(overflowing(), dtype=torch.float32)
    found = measured(context, largest=1e4)
    assert found.reason is None
    assert 0 < found.value < 10
