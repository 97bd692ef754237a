"""Local Lipschitz constants: how fast logits change around inputs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.robustness.attack import STEP
from orchestrator.measures.robustness.ball import Ball, Norm, lengths, noise
from orchestrator.measures.robustness.inputs import (
    Inputs,
    chosen_inputs,
    zero_gradient_entry,
    zero_gradient_value,
)
from orchestrator.measures.trust.finding import INPUT_GRADIENTS
from orchestrator.study.measure_options.robustness import LocalLipschitzOptions


def local_lipschitz(
    context: MeasureContext, inputs: Inputs, norm: Norm, radius: float, steps: int
) -> Tensor:
    """Return max ‖f(x) − f(x′)‖ / ‖x − x′‖ over the x′ visited by an ascent in a ball around x.

    f are the logits. For ``linf``, their change is measured in ℓ1 and that of the input in ℓ∞, as
    in Yang et al. (arXiv:2003.02460). For ``l2`` both are in ℓ2, so the value for a linear network
    is at most its spectral norm. The ascent starts at a random point of the ball.

    Args:
        context: The network.
        inputs: Examples.
        norm: ``l2`` or ``linf``.
        radius: Radius of the ball.
        steps: Steps of the ascent.

    Returns:
        Shape ``(n,)``: lower bounds of the local Lipschitz constants.
    """
    start = noise(norm, len(inputs), inputs.x[0].numel(), context.generator("lipschitz_start"))
    return torch.cat(
        [
            _of_pass(context, x, Ball(norm, x.new_full((len(x),), radius)), s.to(x), steps)
            for x, s in context.data.in_passes(inputs.x, start)
        ]
    )


def _of_pass(context: MeasureContext, x: Tensor, ball: Ball, start: Tensor, steps: int) -> Tensor:
    with torch.no_grad():
        here = context.forward(x)
    step = Ball(ball.norm, ball.radius * (STEP / steps))
    displacement = ball.random(start).view_as(x)
    largest = x.new_zeros(len(x))
    for _ in range(steps + 1):
        with torch.enable_grad():
            moved = (x + displacement).requires_grad_()
            change = context.forward(moved) - here
            order = 2.0 if ball.norm == "l2" else 1.0
            ratio = torch.linalg.vector_norm(change, ord=order, dim=1) / lengths(
                moved - x, ball.norm
            )
            (gradient,) = torch.autograd.grad(ratio.sum(), moved, materialize_grads=True)
        largest = torch.maximum(largest, ratio.detach())  # keeps NaN
        displacement = ball.project(displacement + step.steepest(gradient))
    return largest


class LocalLipschitz(Measure, options=LocalLipschitzOptions):
    """Mean and maximum over examples of the local Lipschitz constant of the logits.

    Computed on a fixed subset of each split; the variant is the norm and the radius. The values are
    lower bounds, found by an ascent (``local_lipschitz``). They are invariant under rescaling of
    layers, but not under scaling of logits. Lower is smoother. ``local_lipschitz_zero_gradients``
    is the share of examples at which every gradient is zero or only rounding, so the ascent has no
    direction to follow. Cost: ``steps`` gradients over the chosen examples.
    """

    entries = (
        *(
            CatalogEntry(
                f"local_lipschitz_{name}",
                "robustness",
                f"{symbol} max ‖f(x) − f(x′)‖ / ‖x − x′‖",
                "logit / standardized input",
                "lower",
                "Yang et al., arXiv:2003.02460",
                "steps G over the examples chosen",
                "layer rescaling",
            )
            for name, symbol in (("mean", "E"), ("max", "max"))
        ),
        zero_gradient_entry("local_lipschitz"),
    )

    version = 3
    requires = INPUT_GRADIENTS

    def __init__(self, options: LocalLipschitzOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the values of each split."""
        options = self.options
        variant = f"{options.norm} {options.radius:g}"
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            inputs = chosen_inputs(context, split, options.examples)
            found = local_lipschitz(context, inputs, options.norm, options.radius, options.steps)
            value = partial(Value, variant=variant, split=split, n_examples=len(inputs))
            for name, number in (("mean", found.mean()), ("max", found.max())):
                reason = None if isfinite(number) else "logits are not finite"
                yield value(f"local_lipschitz_{name}", number.item(), reason=reason)
            yield zero_gradient_value(context, inputs, "local_lipschitz", variant)
