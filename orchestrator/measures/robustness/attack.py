"""Projected gradient ascent on inputs: the attack shared by several measures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.robustness.ball import Ball, Norm, lengths, noise
from orchestrator.measures.robustness.inputs import chosen_inputs, lead, logits_of
from orchestrator.measures.robustness.linearized import nearest_class

STEP = 2.5
"""Total length of all steps in radii, enough to reach any point of the ball."""


@dataclass(frozen=True)
class Settings:
    """Settings of an attack.

    Attributes:
        norm: Norm of the ball.
        steps: Steps per ascent.
        restarts: Number of ascents. The first starts at the input and targets the class that is
            nearest to first order; others start at random points of the ball and target the best.
    """

    norm: Norm
    steps: int
    restarts: int


@dataclass(frozen=True)
class Attacked:
    """Results of an attack.

    Attributes:
        split: Split of the examples.
        labels: Shape ``(n,)``.
        predictions: Predicted classes of the unmoved inputs, shape ``(n,)``.
        flipped: Whether a point with another prediction was found, shape ``(n,)``, bool.
        displacements: The shortest found that change the prediction, else zero; shape of x.
    """

    split: Split
    labels: Tensor
    predictions: Tensor
    flipped: Tensor
    displacements: Tensor

    @property
    def correct(self) -> Tensor:
        """Whether the unmoved inputs are classified correctly, shape ``(n,)``."""
        return self.predictions == self.labels


def attacked(
    context: MeasureContext, split: Split, examples: int, settings: Settings, radius: float
) -> Attacked:
    """Try to change the prediction of each input within a ball, whether it is right or wrong.

    The result is shared by all calls with equal arguments. For correct examples this is the
    attack on the true label, so an example is robust exactly if it is correct and stable.
    """

    def compute() -> Attacked:
        inputs = chosen_inputs(context, split, examples)
        predictions = logits_of(context, inputs.x).argmax(dim=1)
        radii = inputs.x.new_full((len(inputs),), radius)
        flipped, displacements = flip(context, inputs.x, predictions, radii, settings)
        return Attacked(split, inputs.y, predictions, flipped, displacements)

    return context.shared(("attacked", split, examples, settings, radius), compute)


def flip(
    context: MeasureContext, x: Tensor, labels: Tensor, radii: Tensor, settings: Settings
) -> tuple[Tensor, Tensor]:
    """Search a ball around each input for a point that is not classified as its label.

    The objective is z_j − z_y, whose gradient does not vanish where cross-entropy saturates
    (Carlini and Wagner, arXiv:1608.04644); steps are those of Madry et al., arXiv:1706.06083.
    In the first ascent, class j is the nearest to first order, because the best other class may be
    out of reach when another is within reach. In later ascents, j is the best other class at the
    current point. Any other class is a success. A point that is not found may still exist.

    Args:
        context: The network.
        x: Inputs, shape ``(n, *input_shape)``.
        labels: The classes to move away from, shape ``(n,)``.
        radii: Radius of each ball, shape ``(n,)``.
        settings: Settings of the attack.

    Returns:
        Whether a point was found, shape ``(n,)``; and the shortest displacement to one, zero
        if none was found, shape of ``x``.
    """
    starts = [
        # Drawn for all inputs together, so that they do not depend on passes.
        noise(
            settings.norm, len(x), x.shape[1:].numel(), context.generator("attack_start", restart)
        )
        for restart in range(1, settings.restarts)
    ]
    found = [
        _flip_pass(
            context,
            x[part],
            labels[part],
            Ball(settings.norm, radii[part]),
            [start[part.cpu()] for start in starts],
            settings.steps,
        )
        for (part,) in context.data.in_passes(torch.arange(len(x), device=x.device))
    ]
    return torch.cat([flipped for flipped, _ in found]), torch.cat([best for _, best in found])


def _flip_pass(
    context: MeasureContext,
    x: Tensor,
    labels: Tensor,
    ball: Ball,
    starts: list[Tensor],
    steps: int,
) -> tuple[Tensor, Tensor]:
    best, shortest = torch.zeros_like(x), x.new_full((len(x),), torch.inf)
    step = Ball(ball.norm, ball.radius * (STEP / steps))
    nearest = nearest_class(context, x, labels, ball.norm)
    ascents: list[tuple[Tensor, Tensor | None]] = [(torch.zeros_like(x), nearest)]
    ascents += [(ball.random(start.to(x)).view_as(x), None) for start in starts]
    for begin, target in ascents:
        displacement = begin
        for last in [*[False] * steps, True]:
            with torch.enable_grad():
                moved = (x + displacement).requires_grad_()
                logits = context.forward(moved)
                ahead = lead(logits, labels)
                if not last:
                    objective = ahead if target is None else _lead_over(logits, labels, target)
                    (gradient,) = torch.autograd.grad(
                        -objective.sum(), moved, materialize_grads=True
                    )
            size = lengths(displacement, ball.norm)
            better = (ahead.detach() < 0) & (size < shortest)
            shortest = torch.where(better, size, shortest)
            best[better] = displacement[better]
            if not last:
                displacement = ball.project(displacement + step.steepest(gradient))
    return shortest.isfinite(), best


def _lead_over(logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    pair = logits.gather(1, torch.stack([labels, target], dim=1))
    return pair[:, 0] - pair[:, 1]
