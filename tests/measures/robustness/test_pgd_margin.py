from __future__ import annotations

from math import inf, isnan, sqrt

import pytest
import torch

from orchestrator.measures import chosen_inputs, deepfool, pgd_distances
from orchestrator.measures.robustness.attack import Settings
from orchestrator.measures.robustness.ball import Norm
from orchestrator.measures.robustness.pgd_margin import PgdMargin, largest_radius
from orchestrator.study.measure_options.robustness import PgdMarginOptions
from tests.measures.cases import case
from tests.measures.robustness.cases import exact_distances, half_dead, random_linear

NORMS: tuple[Norm, ...] = ("l2", "linf")


@pytest.mark.parametrize("norm", NORMS)
def test_bisection_approaches_the_distance_of_linear_classifiers(norm: Norm) -> None:
    context = random_linear()
    inputs = chosen_inputs(context, "train", 100)
    found, censored = pgd_distances(context, inputs, Settings(norm, 20, 1), 8.0, 12)
    exact = exact_distances(context, norm).clamp_min(0)
    assert not censored.any()
    assert (found >= exact * (1 - 1e-9)).all()
    assert torch.allclose(found, exact, rtol=0.02, atol=8.0 / 2**11)


def test_examples_that_withstand_the_largest_radius_are_censored() -> None:
    context = random_linear()
    inputs = chosen_inputs(context, "train", 100)
    exact = exact_distances(context, "l2").clamp_min(0)
    nearest, next_one = exact.sort().values[20:22].tolist()
    largest = (nearest + next_one) / 2
    found, censored = pgd_distances(context, inputs, Settings("l2", 20, 1), largest, 8)
    assert torch.equal(censored, exact > largest)
    assert (found[censored] == largest).all()
    options = PgdMarginOptions(name="pgd_margin", largest=largest)
    rows = {row.measure: row for row in PgdMargin(options).compute(context)}
    assert rows["pgd_margin_censored_share"].value == censored.double().mean().item()
    assert isnan(rows["pgd_margin_mean"].value)
    assert 0 < rows["pgd_margin_min"].value <= largest
    # Nothing is known beyond the largest radius, and nothing is made up.
    tiny = PgdMarginOptions(name="pgd_margin", largest=1e-6)
    rows = {row.measure: row for row in PgdMargin(tiny).compute(context)}
    right = (exact > 0).double().mean().item()
    assert rows["pgd_margin_censored_share"].value == pytest.approx(right)
    assert rows["pgd_margin_median"].value == inf
    assert "has no bound" in str(rows["pgd_margin_median"].reason)


@pytest.mark.parametrize("norm", NORMS)
def test_the_size_of_passes_does_not_change_distances(norm: Norm) -> None:
    found = []
    for passes in (1000, 3):
        context = case("mlp").context(examples_per_pass=passes)
        inputs = chosen_inputs(context, "train", 14)
        found.append(pgd_distances(context, inputs, Settings(norm, 8, 3), 3.0, 5))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-9)
    assert torch.equal(found[0][1], found[1][1])


def test_pgd_finds_distances_at_most_those_of_deepfool() -> None:
    context = case("tanh").context()
    inputs = chosen_inputs(context, "train", 14)
    found, _ = pgd_distances(context, inputs, Settings("l2", 40, 3), 10.0, 12)
    other = deepfool(context, inputs, "l2").distances
    both = other.isfinite() & (other > 0)
    assert both.any()
    assert (found[both] <= 1.05 * other[both]).all()


def test_dead_inputs_are_reached_only_from_random_starts() -> None:
    context = half_dead()
    inputs = chosen_inputs(context, "train", 4)
    found, censored = pgd_distances(context, inputs, Settings("l2", 20, 1), 4.0, 12)
    assert censored.tolist() == [True, True, False, False]
    assert found[2:].tolist() == pytest.approx([0.4, 0.2], abs=0.01)
    found, censored = pgd_distances(context, inputs, Settings("l2", 20, 16), 4.0, 9)
    assert not censored.any()
    assert found[:2].tolist() == pytest.approx([3.5, 2.5], abs=0.05)


def test_the_default_radius_is_half_a_standard_deviation_in_every_coordinate() -> None:
    context = random_linear()
    inputs = chosen_inputs(context, "train", 4)
    assert largest_radius(inputs, "linf") == 0.5
    assert largest_radius(inputs, "l2") == 0.5 * sqrt(5)
