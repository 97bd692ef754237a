from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan

import numpy as np
import pytest
import torch

from orchestrator.measures import MarginPopulationMinimum, MeasureContext, population_minimum
from orchestrator.study.measure_options.margins import PopulationMinimumOptions
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset

DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "uniform": lambda generator, n: generator.random(n),
    "triangular": lambda generator, n: generator.random((n, 2)).max(axis=1),
    "half_normal": lambda generator, n: np.abs(generator.standard_normal(n)),
}


@with_simulations(200, 2000)
@pytest.mark.parametrize("name", DRAWS)
def test_intervals_cover_the_end_of_distributions_that_end_at_zero(
    name: str, simulations: int
) -> None:
    """The coverage that the docstring tells, and no drift of the estimate."""
    covered, values = 0, []
    for seed in range(simulations):
        sample = DRAWS[name](np.random.default_rng(seed), 1000)
        found = population_minimum(sample, resamples=200, seed=seed)
        covered += found.low <= 0 <= found.high
        values.append(found.value)
    assert_covers(covered, simulations, stated=0.87, widest=0.97)
    assert abs(np.median(values)) < 0.03


def test_it_lies_at_or_below_the_smallest_value() -> None:
    for seed in range(30):
        sample = np.random.default_rng(seed).normal(size=300)
        found = population_minimum(sample)
        assert found.low <= found.high <= sample.min()
        assert found.value <= sample.min()
        assert found.tail == 30


def test_it_moves_with_the_unit_and_the_origin() -> None:
    sample = np.random.default_rng(0).random(500)
    one, other = population_minimum(sample), population_minimum(7 * sample - 3)
    for field in ("value", "low", "high"):
        assert getattr(other, field) == pytest.approx(7 * getattr(one, field) - 3)


def test_a_heavy_tail_has_no_end() -> None:
    sample = -np.random.default_rng(0).pareto(0.7, size=2000)
    assert population_minimum(sample).value == -inf
    assert population_minimum(sample).low == -inf


def test_equal_values_end_where_they_are() -> None:
    found = population_minimum(np.full(100, 2.5))
    assert (found.value, found.low, found.high) == (2.5, 2.5, 2.5)
    with pytest.raises(ValueError, match="2 values in the tail"):
        population_minimum(np.arange(20.0))


def test_the_measure_tells_what_it_rests_on() -> None:
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
        assert value.value <= high.value or value.value == -inf
