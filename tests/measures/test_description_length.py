from __future__ import annotations

from itertools import pairwise
from math import isnan, log, nan

import pytest
import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures import prequential_description_length
from orchestrator.measures.description_length import Fit, Predictor

CLASSES = 4
N = 60


def examples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (N,), generator=generator)
    return torch.nn.functional.one_hot(labels, CLASSES).double(), labels


def always(predictor: Predictor) -> Fit:
    return lambda inputs, labels: predictor


def test_a_constant_predictor_costs_log_classes_per_label() -> None:
    inputs, labels = examples()
    fit = always(lambda x: torch.zeros(len(x), CLASSES))
    found = prequential_description_length(fit, inputs, labels, CLASSES, [5, 20, N])
    assert found.nats == pytest.approx(N * log(CLASSES), rel=1e-12)
    assert found.per_label == pytest.approx(log(CLASSES), rel=1e-12)


def test_a_perfect_predictor_costs_only_the_first_block() -> None:
    inputs, labels = examples()
    fit = always(lambda x: 1e4 * x)
    found = prequential_description_length(fit, inputs, labels, CLASSES, [7, 30, N])
    assert found.nats == pytest.approx(7 * log(CLASSES), rel=1e-12)
    assert [block.nats for block in found.blocks[1:]] == [0.0, 0.0]


def test_learned_frequencies_cost_their_negative_log_probabilities() -> None:
    inputs, labels = examples()

    def fit(known: Tensor, seen: Tensor) -> Predictor:
        counts = torch.bincount(seen, minlength=CLASSES).double() + 1
        return lambda x: counts.log().expand(len(x), CLASSES)

    boundaries = [3, 4, 10, 41, N]
    expected = 3 * log(CLASSES)
    for start, stop in pairwise(boundaries):
        for label in labels[start:stop].tolist():
            seen = labels[:start].tolist()
            expected -= log((seen.count(label) + 1) / (len(seen) + CLASSES))
    found = prequential_description_length(fit, inputs, labels, CLASSES, boundaries)
    assert found.nats == pytest.approx(expected, rel=1e-12)


def test_each_fit_sees_only_earlier_examples() -> None:
    inputs, labels = examples()
    seen: list[int] = []

    def fit(known: Tensor, told: Tensor) -> Predictor:
        assert torch.equal(known, inputs[: len(known)])
        assert torch.equal(told, labels[: len(known)])
        seen.append(len(known))
        return lambda x: x

    prequential_description_length(fit, inputs, labels, CLASSES, [10, 20, 50])
    assert seen == [10, 20]
    seen.clear()
    prequential_description_length(fit, inputs, labels, CLASSES, [10, 20, 50], held_out=0.3)
    assert seen == [7, 14]


def test_calibration_corrects_false_certainty() -> None:
    """Right at first, wrong for every fifth: with its own temperature the logit scale is free."""
    inputs, labels = examples()
    wrong = torch.arange(N) % 5 == 0
    inputs[wrong] = inputs[wrong].roll(1, dims=1)
    costs = {}
    for scale in (1.0, 100.0):
        fit = always(lambda x, scale=scale: scale * x)  # type: ignore[misc]
        for held_out in (0.0, 0.5):
            costs[scale, held_out] = prequential_description_length(
                fit, inputs, labels, CLASSES, [20, N], held_out
            ).nats
    assert costs[100.0, 0.0] > 10 * costs[1.0, 0.0]
    assert costs[100.0, 0.5] == pytest.approx(costs[1.0, 0.5], rel=1e-6)
    assert costs[1.0, 0.5] < costs[1.0, 0.0]


def test_a_block_without_a_best_temperature_has_a_remark() -> None:
    inputs, labels = examples()
    fit = always(lambda x: x)
    found = prequential_description_length(fit, inputs, labels, CLASSES, [20, N], held_out=0.5)
    assert found.blocks[1].temperature == 1.0
    assert "all classified correctly" in found.blocks[1].remark


def test_nan_predictions_are_not_hidden() -> None:
    inputs, labels = examples()
    fit = always(lambda x: torch.full((len(x), CLASSES), nan))
    assert isnan(prequential_description_length(fit, inputs, labels, CLASSES, [20, N]).nats)


@pytest.mark.parametrize(
    ("boundaries", "held_out", "message"),
    [
        ([], 0.0, "between 1 and 60"),
        ([0, 5], 0.0, "between 1 and 60"),
        ([5, 61], 0.0, "between 1 and 60"),
        ([5, 5], 0.0, "must increase"),
        ([5, 10], 1.0, "held_out"),
    ],
)
def test_invalid_boundaries_and_shares_are_refused(
    boundaries: list[int], held_out: float, message: str
) -> None:
    inputs, labels = examples()
    with pytest.raises(MeasureError, match=message):
        prequential_description_length(
            always(lambda x: x), inputs, labels, CLASSES, boundaries, held_out
        )


def test_invalid_labels_and_shapes_are_refused() -> None:
    inputs, labels = examples()
    fit = always(lambda x: x[:, :2])
    with pytest.raises(MeasureError, match="labels must be in 0 … 2"):
        prequential_description_length(fit, inputs, labels.clamp_min(3), 3, [5, N])
    with pytest.raises(MeasureError, match="logits of shape"):
        prequential_description_length(fit, inputs, labels, CLASSES, [5, N])
    with pytest.raises(MeasureError, match="59 inputs"):
        prequential_description_length(fit, inputs[1:], labels, CLASSES, [5, N])
