from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.data import Dataset
from orchestrator.measures import Curve, MeasureContext, Value, margins
from orchestrator.measures.margins.distribution import MarginDistribution
from orchestrator.study.measure_options.margins import MarginDistributionOptions
from tests.measures.cases import CROSS_ENTROPY, case


class Identity(nn.Module):
    """Logits that are the inputs; a parameter, because there must be one."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.zero


def of_logits(logits: list[list[float]], labels: list[int], **options: Any) -> MeasureContext:
    x, y = torch.tensor(logits), torch.tensor(labels)
    data = Dataset("made", x, y, x, y, len(logits[0]), "hash")
    return MeasureContext(Identity(), data, CROSS_ENTROPY, **options)


def found(context: MeasureContext, **options: Any) -> tuple[Value, Curve, Curve, Curve]:
    measure = MarginDistribution(MarginDistributionOptions(name="margin_distribution", **options))
    value, quantiles, smallest, predictions = measure.compute(context)
    assert isinstance(value, Value)
    assert isinstance(quantiles, Curve)
    assert isinstance(smallest, Curve)
    assert isinstance(predictions, Curve)
    return value, quantiles, smallest, predictions


# Margins 1, −2, 0, 4, 2.
LOGITS = [[1.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 2.0, 2.0], [0.0, 0.0, 4.0], [3.0, 1.0, 0.0]]
LABELS = [0, 0, 2, 2, 0]


def test_known_margins_have_the_expected_quantiles_and_smallest_examples() -> None:
    value, quantiles, smallest, predictions = found(of_logits(LOGITS, LABELS), quantiles=5)
    assert quantiles.x == [0, 0.25, 0.5, 0.75, 1]
    assert quantiles.values == [-2, 0, 1, 2, 4]
    assert value.value == 2
    assert smallest.x == predictions.x == [1, 2, 0, 4, 3]
    assert smallest.values == [-2, 0, 1, 2, 4]
    assert predictions.values == [1, 1, 0, 0, 2]
    _, _, smallest, predictions = found(of_logits(LOGITS, LABELS), smallest=2)
    assert (smallest.x, predictions.values) == ([1, 2], [1, 1])


def test_equal_margins_are_in_the_order_of_the_examples() -> None:
    _, _, smallest, _ = found(of_logits([[1.0, 0.0]] * 40, [0] * 40), smallest=5)
    assert smallest.x == [0, 1, 2, 3, 4]


def test_positions_refer_to_the_whole_split_even_for_a_subset() -> None:
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 3
    context = of_logits(logits.tolist(), labels.tolist(), examples=12)
    _, quantiles, smallest, _ = found(context, smallest=12)
    assert len(set(smallest.x)) == 12
    every = margins(logits, labels)
    places = [int(place) for place in smallest.x]
    assert smallest.values == pytest.approx(every[places].tolist())
    assert sorted(places) == context.data.positions("train").tolist()
    assert quantiles.values[0] == min(smallest.values)


def test_duplicating_the_data_evenly_does_not_change_quantiles() -> None:
    once = found(of_logits(LOGITS, LABELS), quantiles=5)[1]
    context = of_logits(LOGITS * 201, LABELS * 201)
    many = found(context, quantiles=5)[1]
    assert many.values == once.values


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_spread_grows_with_the_logits_unless_they_are_normalized(factor: float) -> None:
    scaled = [[factor * logit for logit in row] for row in LOGITS]
    for normalization, expected in (("raw", factor), ("logit_norm", 1.0), ("total_variation", 1.0)):
        one = found(of_logits(LOGITS, LABELS), normalization=normalization)
        other = found(of_logits(scaled, LABELS), normalization=normalization)
        assert other[0].value == pytest.approx(expected * one[0].value)
        assert other[2].x == one[2].x
        assert {item.variant for item in other} == {normalization}


def test_the_size_of_passes_does_not_change_the_values() -> None:
    whole, parts = (found(case("cnn").context(examples_per_pass=n), smallest=4) for n in (1000, 3))
    np.testing.assert_allclose(whole[1].values, parts[1].values, rtol=1e-12)
    assert whole[2].x == parts[2].x


def test_undefined_margins_give_a_reason() -> None:
    nan = [[float("nan"), 0.0, 0.0], *LOGITS[1:]]
    value, quantiles, smallest, predictions = found(of_logits(nan, LABELS))
    assert isnan(value.value)
    assert isnan(quantiles.values[0])
    assert value.reason == quantiles.reason == smallest.reason == "1 margins are NaN"
    assert smallest.x == [1, 2, 4, 3, 0]  # What is no number comes last.
    assert predictions.values[:4] == [1, 1, 0, 2]
    assert isnan(predictions.values[4])
    assert predictions.reason == "logits are NaN"
    constant = of_logits([[1.0, 0.0]] * 4, [0, 1, 0, 1])
    value, _, smallest, _ = found(constant, normalization="total_variation")
    assert value.reason == "the logits are the same for all examples"
    assert smallest.reason == value.reason
