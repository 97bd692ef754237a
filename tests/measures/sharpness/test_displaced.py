from __future__ import annotations

from math import isnan

import pytest
import torch

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import displaced, displaced_gradient
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, random_dataset
from tests.measures.quadratic import QuadraticLoss
from tests.measures.references import dense_gradient, loss_of


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_displaced_losses_agree_with_really_moved_parameters(subject: Case) -> None:
    context = subject.context(examples_per_pass=4)
    delta = 0.1 * context.probe(0, "gaussian")
    found, gradient = displaced_gradient(context, delta)
    assert displaced(context, delta) == found
    moved = subject.context()
    with torch.no_grad():
        moves = context.unflatten(delta)
        for parameter, move in zip(moved.parameters.values(), moves, strict=True):
            parameter += move
    theta = moved.parameter_vector()
    assert found.loss == pytest.approx(loss_of(moved, theta).item(), rel=1e-10)
    wrong = moved.logits("train").argmax(1) != moved.data.labels("train")
    assert found.error == wrong.double().mean().item()
    torch.testing.assert_close(gradient, dense_gradient(moved), rtol=1e-8, atol=1e-10)
    assert torch.equal(context.parameter_vector(), subject.context().parameter_vector())


def test_the_split_and_the_examples_can_be_chosen() -> None:
    context = case("mlp").context()
    zero = torch.zeros(context.n_parameters, dtype=torch.float64)
    assert displaced(context, zero, split="test").loss == pytest.approx(context.loss_value("test"))
    x, y = context.data("train")
    first, rest = (
        displaced(context, zero, (x[part], y[part])) for part in (slice(5), slice(5, 14))
    )
    assert (5 * first.loss + 9 * rest.loss) / 14 == pytest.approx(context.loss_value("train"))


def test_another_loss_can_be_given() -> None:
    context = case("mlp").context()
    zero = torch.zeros(context.n_parameters, dtype=torch.float64)
    expected = context.logits("train").square().sum(1).mean().item() / 2
    found, gradient = displaced_gradient(context, zero, loss=QuadraticLoss())
    assert found.loss == displaced(context, zero, loss=QuadraticLoss()).loss
    assert found.loss == pytest.approx(expected, rel=1e-12)
    other = MeasureContext(case("mlp").model(), case("mlp").dataset(), QuadraticLoss())
    torch.testing.assert_close(gradient, other.gradient("train"))


def test_nan_logits_have_neither_loss_nor_error() -> None:
    context = MeasureContext(case("mlp").model(), random_dataset((5,), 9, 3), CROSS_ENTROPY)
    delta = torch.zeros(context.n_parameters, dtype=torch.float64)
    delta[0] = float("nan")
    found, gradient = displaced_gradient(context, delta)
    assert isnan(found.loss)
    assert isnan(found.error)
    assert gradient.isnan().any()
