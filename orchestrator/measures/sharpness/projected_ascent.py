"""The largest value of a function in a ball, by projected gradient ascent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["l2", "linf"]
Objective = Callable[[Tensor], tuple[float, Tensor]]
"""A point ↦ the value and the gradient there."""

_MOMENTUM = 0.75  # Share of the new step: α of Croce and Hein.
_ENOUGH_INCREASES = 0.75  # Share of a window's steps that must gain: ρ of Croce and Hein.


@dataclass(frozen=True)
class Ascent:
    """The start of an ascent and the highest point it visited.

    Attributes:
        start: Value at the center of the ball.
        value: Largest value seen, or the value that ended the ascent by not being finite.
        point: Point of that value.
    """

    start: float
    value: float
    point: Tensor


def projected_ascent(
    objective: Objective,
    *,
    norm: Norm,
    radius: float,
    steps: int,
    fallback: Tensor,
) -> Ascent:
    """Maximize ``objective`` over ‖u‖ ≤ ``radius``, from u = 0.

    The method is Auto-PGD (Croce and Hein, arXiv:2003.01690, algorithm 1 with one start): steps
    along the steepest direction of the norm with momentum, of length 2 ``radius`` at first. At
    increasingly frequent checkpoints, the length is halved and the ascent resumes from the highest
    point under either of two conditions: fewer than three quarters of the steps since the last
    checkpoint have gained, or neither the length nor the highest value has changed. No step size
    needs tuning.

    A linear function is maximized by the first step, and a convex quadratic one in the long run.
    In general the result is a lower bound of the maximum. A value that is not finite ends the
    ascent and is returned as it is.

    Args:
        objective: u ↦ value and gradient; called at most ``steps`` + 1 times.
        norm: Norm of the ball.
        radius: Radius of the ball.
        steps: Number of steps.
        fallback: First direction where the gradient at 0 vanishes, as at an exact minimum.
    """
    point = torch.zeros_like(fallback)
    value, gradient = objective(point)
    best = Ascent(value, value, point)
    if not isfinite(value):
        return best
    best_gradient = gradient
    previous, length = point, 2 * radius
    increases, window_start, halved, last_best = 0, 0, False, value
    checkpoints = set(checkpoint_steps(steps))
    for step in range(1, steps + 1):
        direction = steepest(gradient, norm)
        if step == 1 and not direction.any():
            direction = steepest(fallback, norm)
        target = project(point + length * direction, norm, radius)
        if step > 1:
            target = point + _MOMENTUM * (target - point) + (1 - _MOMENTUM) * (point - previous)
            target = project(target, norm, radius)
        previous, point = point, target
        before, (value, gradient) = value, objective(point)
        if not isfinite(value):
            return Ascent(best.start, value, point)
        increases += value > before
        if value > best.value:
            best, best_gradient = Ascent(best.start, value, point), gradient
        if step in checkpoints:
            stuck = not halved and best.value == last_best
            halved = increases < _ENOUGH_INCREASES * (step - window_start) or stuck
            if halved:
                length /= 2
                previous = point = best.point
                value, gradient = best.value, best_gradient
            increases, window_start, last_best = 0, step, best.value
    return best


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the direction of norm 1 with the largest product with ``gradient``; 0 if that is 0."""
    if norm == "linf":
        return gradient.sign()
    # Divided by the largest entry first, because squares of small entries underflow.
    largest = gradient.abs().amax()
    if largest == 0:
        return torch.zeros_like(gradient)
    unit = gradient / largest
    direction: Tensor = unit / torch.linalg.vector_norm(unit)
    return direction


def project(point: Tensor, norm: Norm, radius: float) -> Tensor:
    """Return the nearest point with ‖u‖ ≤ ``radius``."""
    if norm == "linf":
        return point.clamp(-radius, radius)
    length = float(torch.linalg.vector_norm(point, dtype=torch.float64))
    return point if length <= radius else point * (radius / length)


def checkpoint_steps(steps: int) -> Iterator[int]:
    """Yield the steps after which the step length is reconsidered.

    Args:
        steps: Steps of the whole ascent.
    """
    before, percent = 0, 22
    while percent < 100:
        yield ceil(percent * steps / 100)
        before, percent = percent, percent + max(percent - before - 3, 6)
