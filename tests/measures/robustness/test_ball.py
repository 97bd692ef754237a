from __future__ import annotations

import pytest
import torch

from orchestrator.measures.robustness.ball import Ball, Norm, dual_lengths, lengths, noise

NORMS: tuple[Norm, ...] = ("l2", "linf")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_ends_in_the_ball_and_keeps_inner_points(norm: Norm) -> None:
    ball = Ball(norm, torch.tensor([0.5, 2.0, 100.0], dtype=torch.float64))
    far = random(3, 2, 4)
    near = ball.project(far)
    assert (lengths(near, norm) <= ball.radius * (1 + 1e-12)).all()
    assert torch.equal(near[2], far[2])
    assert torch.equal(ball.project(near), near)


def test_l2_projection_is_along_the_ray() -> None:
    found = Ball("l2", torch.tensor([1.0])).project(torch.tensor([[3.0, 4.0]]))
    assert torch.allclose(found, torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_displacement_gains_the_dual_norm(norm: Norm) -> None:
    ball = Ball(norm, torch.full((5,), 0.3, dtype=torch.float64))
    gradients = random(5, 7)
    step = ball.steepest(gradients)
    assert torch.allclose(lengths(step, norm), ball.radius)
    assert torch.allclose((step * gradients).sum(1), 0.3 * dual_lengths(gradients, norm))
    assert torch.equal(ball.steepest(torch.zeros(5, 7)), torch.zeros(5, 7))


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_fill_the_ball(norm: Norm) -> None:
    n, size = 4000, 3
    points = Ball(norm, torch.full((n,), 2.0, dtype=torch.float64)).random(
        noise(norm, n, size, torch.Generator().manual_seed(0))
    )
    sizes = lengths(points, norm)
    assert sizes.max() <= 2.0
    # The volume within half the radius is an eighth, in three dimensions.
    assert (sizes < 1).double().mean().item() == pytest.approx(1 / 8, abs=0.02)
    assert points.mean(0).abs().max() < 0.1
