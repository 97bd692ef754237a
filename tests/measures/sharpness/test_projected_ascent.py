from __future__ import annotations

from math import inf, isnan, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from orchestrator.measures.sharpness.projected_ascent import (
    Norm,
    checkpoint_steps,
    project,
    projected_ascent,
    steepest,
)

NORMS: tuple[Norm, ...] = ("l2", "linf")


def random(size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)


def length(point: Tensor, norm: Norm) -> float:
    return float(point.norm() if norm == "l2" else point.abs().max())


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_one_step_maximizes_a_linear_function(scale: float) -> None:
    """ρ ‖g‖₂ over the Euclidean ball, ρ ‖g‖₁ over the box."""
    g = scale * random(6)
    for norm, dual in (("l2", (g / scale).norm() * scale), ("linf", g.abs().sum())):
        found = projected_ascent(
            lambda u: (float(g @ u), g), norm=norm, radius=0.3, steps=1, fallback=random(6, 1)
        )
        assert found.value == pytest.approx(0.3 * dual.item(), rel=1e-12)
        assert found.start == 0
        assert length(found.point, norm) == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(5))
def test_the_ascent_finds_the_top_eigenvalue_from_an_exact_minimum(seed: int) -> None:
    """max ½ uᵀHu over ‖u‖₂ ≤ ρ is ρ² λ_1 / 2."""
    rotation, _ = torch.linalg.qr(random(36, seed).view(6, 6))
    hessian = rotation @ torch.diag(torch.tensor([4.0, 2.5, 1, 0.1, 0, -3]).double()) @ rotation.T
    found = projected_ascent(
        lambda u: (float(u @ hessian @ u) / 2, hessian @ u),
        norm="l2",
        radius=0.2,
        steps=60,
        fallback=random(6, seed + 100),
    )
    assert found.value == pytest.approx(0.2**2 * 4 / 2, rel=1e-6)


def test_the_ascent_finds_a_maximum_inside_the_ball() -> None:
    """The step length has to shrink."""
    top = torch.tensor([0.3, -0.2], dtype=torch.float64)
    for norm in NORMS:
        found = projected_ascent(
            lambda u: (-float((u - top).square().sum()), -2 * (u - top)),
            norm=norm,
            radius=1.0,
            steps=100,
            fallback=random(2),
        )
        assert found.value == pytest.approx(0, abs=1e-3)


@given(st.integers(0, 100), st.integers(1, 25), st.sampled_from(NORMS))
def test_the_ascent_stays_in_the_ball_and_never_loses_its_best_point(
    seed: int, steps: int, norm: Norm
) -> None:
    weights, phase = random(5, seed), random(5, seed + 1)
    seen: list[tuple[float, Tensor]] = []

    def objective(u: Tensor) -> tuple[float, Tensor]:
        assert length(u, norm) <= 0.7 * (1 + 1e-12)
        seen.append((float((weights * (9 * u + phase).sin()).sum()), u))
        return seen[-1][0], 9 * weights * (9 * u + phase).cos()

    found = projected_ascent(objective, norm=norm, radius=0.7, steps=steps, fallback=random(5))
    assert len(seen) == steps + 1
    assert found.start == seen[0][0]
    assert found.value == max(value for value, _ in seen) >= found.start
    assert torch.equal(found.point, next(u for value, u in seen if value == found.value))


def test_the_ascent_on_a_flat_function_stays_at_the_center() -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    found = projected_ascent(
        lambda u: (1.0, zero), norm="linf", radius=1, steps=9, fallback=random(3)
    )
    assert (found.start, found.value) == (1, 1)
    assert torch.equal(found.point, zero)


@pytest.mark.parametrize("bad", [nan, inf])
def test_a_nonfinite_value_ends_the_ascent_and_is_returned(bad: float) -> None:
    calls: list[int] = []

    def objective(u: Tensor) -> tuple[float, Tensor]:
        calls.append(1)
        return (bad if len(calls) == 4 else float(len(calls))), torch.ones_like(u)

    found = projected_ascent(objective, norm="l2", radius=1, steps=20, fallback=random(3))
    assert len(calls) == 4
    assert isnan(found.value) if isnan(bad) else found.value == bad
    assert found.start == 1


def test_intervals_between_checkpoints_shrink_as_in_the_paper() -> None:
    """Those of the paper: 0, 0.22, then 0.03 less each time, at least 0.06 apart."""
    assert list(checkpoint_steps(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoint_steps(1)) == [1] * 8


@pytest.mark.parametrize("norm", NORMS)
def test_projection_keeps_inner_points_and_maps_outer_ones_to_the_nearest(norm: Norm) -> None:
    inside, outside = 0.1 * random(4), 10 * random(4)
    assert torch.equal(project(inside, norm, 1.0), inside)
    nearest = project(outside, norm, 1.0)
    assert length(nearest, norm) == pytest.approx(1)
    for seed in range(20):
        other = project(nearest + 0.1 * random(4, seed), norm, 1.0)
        assert (outside - other).norm() >= (outside - nearest).norm() - 1e-12
    assert not steepest(torch.zeros(3), norm).any()
