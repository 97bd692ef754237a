from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan

import numpy as np
import pytest
import torch

from orchestrator.measures import MeasureContext, population_minimum
from orchestrator.measures.margins.population_minimum import (
    MarginPopulationMinimum,
    PopulationMinimum,
)
from orchestrator.study.measure_options.margins import PopulationMinimumOptions
from tests.binomial import assert_at_least, assert_at_most, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset

DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "uniform": lambda generator, n: generator.random(n),
    "triangular": lambda generator, n: generator.random((n, 2)).max(axis=1),
    "half_normal": lambda generator, n: np.abs(generator.standard_normal(n)),
}


def simulated(
    draw: Callable[[np.random.Generator, int], np.ndarray], size: int, simulations: int
) -> list[PopulationMinimum]:
    return [
        population_minimum(draw(np.random.default_rng(seed), size), seed=seed)
        for seed in range(simulations)
    ]


@with_simulations(60, 1000)
@pytest.mark.parametrize("name", DRAWS)
def test_the_interval_of_a_given_end_covers_it(name: str, simulations: int) -> None:
    """The coverage that the docstring tells, and no drift of the estimate."""
    found = [one for one in simulated(DRAWS[name], 3000, simulations) if not one.reason]
    assert_at_least(0.95, sum(one.low <= 0 <= one.high for one in found), len(found))
    assert abs(np.median([one.value for one in found])) < 0.03


@with_simulations(60, 1000)
def test_ends_that_the_tail_supports_are_found(simulations: int) -> None:
    found = sum(not one.reason for one in simulated(DRAWS["uniform"], 3000, simulations))
    assert_at_least(0.7, found, simulations)


@with_simulations(60, 1000)
@pytest.mark.parametrize("size", [300, 1000, 3000])
def test_normal_values_rarely_get_an_end(size: int, simulations: int) -> None:
    given = sum(
        not one.reason
        for one in simulated(lambda generator, n: generator.normal(size=n), size, simulations)
    )
    assert_at_most(0.05, given, simulations)


def test_the_end_lies_at_or_below_the_smallest_value() -> None:
    for seed in range(30):
        sample = np.random.default_rng(seed).random(3000)
        found = population_minimum(sample)
        assert found.low <= found.high <= sample.min()
        assert isnan(found.value) or found.value <= sample.min()
        assert found.tail == 300


def test_the_end_follows_a_change_of_unit_and_origin() -> None:
    sample = np.random.default_rng(0).random(5000)
    one, other = population_minimum(sample), population_minimum(7 * sample - 3)
    for field in ("value", "low", "high"):
        assert getattr(other, field) == pytest.approx(7 * getattr(one, field) - 3)


def test_a_heavy_tail_has_no_end() -> None:
    sample = -np.random.default_rng(0).pareto(0.7, size=2000)
    assert population_minimum(sample).value == -inf
    assert population_minimum(sample).low == -inf


def test_a_tail_that_supports_no_end_gives_a_reason() -> None:
    sample = np.random.default_rng(0).normal(size=1000)
    found = population_minimum(sample)
    assert isnan(found.value)
    assert (found.low, found.high) == (-inf, sample.min())
    assert found.reason == "the tail of 100 values supports no end"


def test_equal_values_end_at_that_value() -> None:
    found = population_minimum(np.full(100, 2.5))
    assert (found.value, found.low, found.high) == (2.5, 2.5, 2.5)
    with pytest.raises(ValueError, match="1 values in half the tail"):
        population_minimum(np.arange(20.0))


def test_the_measure_reports_its_bounds_and_tail() -> None:
    measure = MarginPopulationMinimum(PopulationMinimumOptions(name="margin_population_minimum"))
    rows = list(measure.compute(case("mlp").context()))
    assert all(isnan(row.value) for row in rows)
    assert rows[0].reason == (
        "margin_population_minimum: 1 of 14 train margins are in the tail, expected at least 30"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Linear(5, 3)
    context = MeasureContext(model, random_dataset((5,), 800, 3), CROSS_ENTROPY)
    rows = list(measure.compute(context))
    assert [row.split for row in rows] == ["train"] * 3 + ["test"] * 3
    for value, low, high in (rows[:3], rows[3:]):
        assert low.value <= high.value
        assert isnan(value.value) or value.value <= high.value
        assert (value.reason is None) == bool(np.isfinite(value.value))
