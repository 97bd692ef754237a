from __future__ import annotations

import pytest
import torch

from orchestrator.measures.sharpness.normalized_logits import NormalizedLogits
from tests.measures.cases import CROSS_ENTROPY
from tests.measures.quadratic import QuadraticLoss


def logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_is_that_of_centered_logits_of_norm_1() -> None:
    found = NormalizedLogits(QuadraticLoss()).per_example(logits(), torch.zeros(7, dtype=int))
    torch.testing.assert_close(found, torch.full((7,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("factor", [1e-3, 100.0])
def test_scale_and_shift_of_the_logits_have_no_effect(factor: float) -> None:
    labels = torch.arange(7) % 4
    loss = NormalizedLogits(CROSS_ENTROPY)
    before = loss.per_example(logits(), labels)
    after = loss.per_example(factor * logits() + torch.arange(7.0)[:, None], labels)
    torch.testing.assert_close(after, before)


def test_equal_logits_have_a_finite_loss_and_gradient() -> None:
    z = torch.full((2, 3), 5.0, requires_grad=True)
    loss = NormalizedLogits(CROSS_ENTROPY).per_example(z, torch.tensor([0, 2]))
    torch.testing.assert_close(loss, torch.log(torch.tensor([3.0, 3.0])))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient.isfinite().all()
