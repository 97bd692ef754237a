from __future__ import annotations

import pytest
import torch

from orchestrator.measures import chosen_inputs, local_lipschitz
from orchestrator.measures.robustness.ball import Norm, lengths, noise
from orchestrator.measures.robustness.local_lipschitz import LocalLipschitz
from orchestrator.study.measure_options.robustness import LocalLipschitzOptions
from tests.measures.cases import case
from tests.measures.robustness.cases import context_of, linear, random_linear

NORMS: tuple[Norm, ...] = ("l2", "linf")


def test_the_lipschitz_constant_of_a_linear_network_is_its_operator_norm() -> None:
    context = random_linear()
    weight = context.model.weight.detach()
    inputs = chosen_inputs(context, "train", 40)
    spectral = torch.linalg.matrix_norm(weight, ord=2).item()
    found = local_lipschitz(context, inputs, "l2", 0.5, 200)
    assert (found <= spectral * (1 + 1e-9)).all()
    assert found.max().item() == pytest.approx(spectral, rel=1e-3)
    # From ℓ∞ to ℓ1 it is the largest sum over signs of the input.
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 5)
    operator = (signs @ weight.T).abs().sum(1).max().item()
    found = local_lipschitz(context, inputs, "linf", 0.5, 50)
    assert (found <= operator * (1 + 1e-9)).all()
    assert found.max().item() == pytest.approx(operator, rel=0.01)


@pytest.mark.parametrize("norm", NORMS)
def test_the_search_finds_more_than_random_points(norm: Norm) -> None:
    context = case("tanh").context()
    inputs = chosen_inputs(context, "train", 14)
    found = local_lipschitz(context, inputs, norm, 0.3, 20)
    order = 2.0 if norm == "l2" else 1.0
    for seed in range(20):
        points = noise(norm, 14, 5, torch.Generator().manual_seed(seed))[:, :5] * 0.1 - 0.05
        moved = context.forward(inputs.x + points).detach()
        change = (moved - context.forward(inputs.x).detach()).norm(p=order, dim=1)
        assert (change / lengths(points, norm)).mean() < found.mean()


def test_a_constant_network_has_lipschitz_constant_zero() -> None:
    context = context_of(
        linear(torch.zeros(3, 2), torch.ones(3)), torch.ones(4, 2), torch.tensor([0, 1, 2, 0])
    )
    rows = list(LocalLipschitz(LocalLipschitzOptions(name="local_lipschitz")).compute(context))
    assert [row.value for row in rows] == [0, 0, 1] * 2  # The last: no gradient anywhere.
    assert {row.variant for row in rows} == {"linf 0.1"}
