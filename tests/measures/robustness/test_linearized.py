from __future__ import annotations

import pytest
import torch

from orchestrator.measures.reparametrization import rescaled
from orchestrator.measures.robustness.ball import Norm
from orchestrator.measures.robustness.linearized import nearest_class
from tests.measures.cases import mlp
from tests.measures.robustness.cases import (
    RUNNER_UP_BIAS,
    RUNNER_UP_WEIGHT,
    context_of,
    half_dead,
    linear,
)

NORMS: tuple[Norm, ...] = ("l2", "linf")


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_class_need_not_be_the_runner_up(norm: Norm) -> None:
    x, y = torch.zeros(2, 2), torch.tensor([0, 2])
    context = context_of(linear(RUNNER_UP_WEIGHT, RUNNER_UP_BIAS), x, y)
    assert nearest_class(context, x.double(), y, norm).tolist() == [2, 0]


@pytest.mark.parametrize("norm", NORMS)
def test_rounding_does_not_choose_among_equally_near_classes(norm: Norm) -> None:
    """With a single unit on, all gaps are proportional to their slopes."""
    model = mlp(3, 1, 5, bias=False).double()
    with torch.no_grad():
        model[0].weight.fill_(0.3)
        model[2].weight.copy_(torch.tensor([[0.7], [-0.1], [0.3], [-0.9], [0.1]]))
    x = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)).double() + 0.1
    y = torch.zeros(200, dtype=torch.int64)
    for alpha in (1.0, 3.0, 7.0):
        network = rescaled(model, x, alpha)[0]
        assert set(nearest_class(context_of(network, x, y), x, y, norm).tolist()) == {2}


def test_the_label_itself_is_never_the_nearest_class() -> None:
    context = half_dead()
    x, y = context.data("train")
    assert (nearest_class(context, x.double(), y, "l2") == 1).all()
