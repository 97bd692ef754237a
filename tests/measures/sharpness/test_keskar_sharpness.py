from __future__ import annotations

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hutchinson import standard_error
from orchestrator.measures.sharpness.keskar_sharpness import KeskarSharpness
from orchestrator.study.measure_options.sharpness import KeskarSharpnessOptions
from tests.measures.cases import CASES, Case, case, random_dataset
from tests.measures.quadratic import LinearLoss, QuadraticLoss, quadratic_context
from tests.measures.references import loss_of


def measured(context: MeasureContext, **given: object) -> list[Value]:
    options = KeskarSharpnessOptions(name="keskar_sharpness", **given)
    return list(KeskarSharpness(options).compute(context))


def test_sharpness_of_a_linear_loss_has_a_closed_form() -> None:
    """max = L + ε Σ (|θ_i| + 1) |g_i|."""
    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), LinearLoss())
    g, theta = context.gradient("train"), context.parameter_vector()
    loss = context.loss_value("train")
    for value, epsilon in zip(measured(context), (1e-3, 5e-4), strict=True):
        rise = epsilon * ((theta.abs() + 1) * g.abs()).sum().item()
        assert value.value == pytest.approx(100 * rise / (1 + loss), rel=1e-9)
        assert value.variant == f"epsilon={epsilon}"
        assert (value.standard_error, value.reason) == (None, None)


def test_sharpness_of_a_quadratic_loss_is_at_the_best_corner_of_the_box() -> None:
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


def test_sharpness_in_a_subspace_of_a_linear_loss_has_a_closed_form() -> None:
    """max = L + ε Σ (|(A⁺θ)_i| + 1) |(Aᵀg)_i|, averaged over the draws of A."""
    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), LinearLoss())
    g, theta = context.gradient("train"), context.parameter_vector()
    loss = context.loss_value("train")
    rises = []
    for draw in range(3):
        columns = [context.probe(4 * draw + number, "gaussian") for number in range(4)]
        basis = torch.stack(columns, dim=1)
        inside = torch.linalg.pinv(basis) @ theta
        rise = 0.01 * ((inside.abs() + 1) * (basis.T @ g).abs()).sum()
        rises.append(100 * rise.item() / (1 + loss))
    (value,) = measured(context, epsilons=[0.01], subspace=4, draws=3)
    assert value.value == pytest.approx(sum(rises) / 3, rel=1e-9)
    assert value.standard_error == pytest.approx(standard_error(rises))
    assert value.variant == "epsilon=0.01, subspace=4"


def test_a_subspace_of_all_dimensions_has_a_box_with_other_axes() -> None:
    """The best corner of |y_i| ≤ ε (|(A⁻¹θ)_i| + 1), by trying all."""
    context, hessian = quadratic_context()
    theta, loss = context.parameter_vector(), context.loss_value("train")
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 8).double()
    found = []
    for draw in range(2):
        columns = [context.probe(8 * draw + number, "gaussian") for number in range(8)]
        basis = torch.stack(columns, dim=1)
        half_widths = 0.01 * (torch.linalg.solve(basis, theta).abs() + 1)
        moved = theta + (half_widths * corners) @ basis.T
        best = (moved @ hessian * moved).sum(1).max().item() / 2
        found.append(100 * (best - loss) / (1 + loss))
    (value,) = measured(context, epsilons=[0.01], steps=50, subspace=8, draws=2)
    assert value.value == pytest.approx(sum(found) / 2, rel=1e-9)


def test_a_subspace_larger_than_the_network_is_refused() -> None:
    with pytest.raises(MeasureError, match="16 dimensions, but the network has 8 parameters"):
        measured(quadratic_context()[0], subspace=16)


def test_each_distinct_size_gives_one_value() -> None:
    values = measured(case("mlp").context(), epsilons=[0.1, 0.01, 0.1])
    assert [value.variant for value in values] == ["epsilon=0.1", "epsilon=0.01"]


def test_a_loss_that_overflows_gives_a_reason() -> None:
    context = MeasureContext(
        nn.Linear(5, 3), random_dataset((5,), 9, 3), QuadraticLoss(), dtype=torch.float32
    )
    (value,) = measured(context, epsilons=[1e30])
    assert value.value == float("inf")
    assert value.reason == "the loss is not finite in the box"
