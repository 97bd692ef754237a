from __future__ import annotations

import pytest
import torch
from torch import nn

from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.keskar_sharpness import KeskarSharpness
from orchestrator.study.measure_options.sharpness import KeskarSharpnessOptions
from tests.measures.cases import CASES, Case, case, random_dataset
from tests.measures.quadratic import LinearLoss, QuadraticLoss, quadratic_context
from tests.measures.references import loss_of


def measured(context: MeasureContext, **given: object) -> list[Value]:
    options = KeskarSharpnessOptions(name="keskar_sharpness", **given)
    return list(KeskarSharpness(options).compute(context))


def test_of_a_linear_loss_has_a_closed_form() -> None:
    """max = L + ε Σ (|θ_i| + 1) |g_i|."""
    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), LinearLoss())
    g, theta = context.gradient("train"), context.parameter_vector()
    loss = context.loss_value("train")
    for value, epsilon in zip(measured(context), (1e-3, 5e-4), strict=True):
        rise = epsilon * ((theta.abs() + 1) * g.abs()).sum().item()
        assert value.value == pytest.approx(100 * rise / (1 + loss), rel=1e-9)
        assert value.variant == f"epsilon={epsilon}"
        assert (value.standard_error, value.reason) == (None, None)


def test_of_a_quadratic_loss_is_the_best_corner_of_the_box() -> None:
    context, hessian = quadratic_context()
    theta = context.parameter_vector()
    (value,) = measured(context, epsilons=[0.5], steps=50)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 8).double()
    moved = theta + 0.5 * (theta.abs() + 1) * corners
    best = (moved @ hessian * moved).sum(1).max().item() / 2
    loss = context.loss_value("train")
    assert value.value == pytest.approx(100 * (best - loss) / (1 + loss), rel=1e-9)


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_no_random_corner_of_the_box_is_higher(subject: Case) -> None:
    context = subject.context(examples_per_pass=4)
    theta, loss = context.parameter_vector(), context.loss_value("train")
    (value,) = measured(context, epsilons=[0.01])
    assert value.value >= 0
    for index in range(10):
        corner = 0.01 * (theta.abs() + 1) * context.probe(index)
        rise = loss_of(context, theta + corner).item() - loss
        assert value.value >= 100 * rise / (1 + loss) - 1e-9


def test_each_size_gives_one_value() -> None:
    values = measured(case("mlp").context(), epsilons=[0.1, 0.01, 0.1])
    assert [value.variant for value in values] == ["epsilon=0.1", "epsilon=0.01"]


def test_a_loss_that_overflows_says_so() -> None:
    context = MeasureContext(
        nn.Linear(5, 3), random_dataset((5,), 9, 3), QuadraticLoss(), dtype=torch.float32
    )
    (value,) = measured(context, epsilons=[1e30])
    assert value.value == float("inf")
    assert value.reason == "the loss is not finite in the box"
