"""Projected gradient ascent on inputs: the attack that several measures share."""

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
"""Sum of the lengths of all steps, in radii: any point of the ball can be reached."""


@dataclass(frozen=True)
class Settings:
    """How an attack is made.

    Attributes:
        norm: Of the ball.
        steps: Steps of ascent.
        restarts: Ascents: the first starts at the input and goes for the class that is nearest to
            first order; others start at random points of the ball and go for the best one.
    """

    norm: Norm
    steps: int
    restarts: int


@dataclass(frozen=True)
class Attacked:
    """What an attack found.

    Attributes:
        split: Of which split the examples are.
        labels: Shape ``(n,)``.
        predictions: Predicted classes of the unmoved inputs, shape ``(n,)``.
        flipped: Whether a point with another prediction was found, shape ``(n,)``, bool.
        displacements: The shortest found that changes the prediction, else zero; shape of x.
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

    It is shared by all that ask for the same. For correct examples this is the attack on the
    true label, so that robust = correct and stable holds example by example.
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
    """Look within a ball around each input for a point that is not classified as its label.

    The objective is z_j − z_y, whose gradient doesn't vanish where cross-entropy saturates
    (Carlini and Wagner, arXiv:1608.04644); steps as of Madry et al., arXiv:1706.06083. Class j
    is the nearest to first order in the first ascent, for the best other one need not be within
    reach when another is; in further ones it is the best other class of the moment. Any other
    class is a success. What is not found may still exist.

    Args:
        context: The network.
        x: Inputs, shape ``(n, *input_shape)``.
        labels: The classes to get away from, shape ``(n,)``.
        radii: Of each ball, shape ``(n,)``.
        settings: How hard to try.

    Returns:
        Whether a point was found, shape ``(n,)``; and the shortest displacement to one, zero
        where there is none, shape of ``x``.
    """
    starts = [
        # For all inputs at once: not to depend on passes.
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
        for part in torch.split(torch.arange(len(x), device=x.device), context.examples_per_pass)
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
