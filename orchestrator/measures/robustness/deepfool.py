"""DeepFool: distances to the decision boundary by repeated linearization."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrator.measures.base import Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.output_margins import margins
from orchestrator.measures.robustness.ball import Norm, dual_lengths, lengths
from orchestrator.measures.robustness.distances import (
    Distances,
    distance_entries,
    summarize_distances,
)
from orchestrator.measures.robustness.inputs import Inputs, chosen_inputs, lead, logits_of
from orchestrator.measures.robustness.linearized import boundary_distances, class_gradients
from orchestrator.measures.trust.finding import INPUT_GRADIENTS
from orchestrator.study.measure_options.robustness import DeepfoolMarginOptions


def deepfool(
    context: MeasureContext,
    inputs: Inputs,
    norm: Norm,
    *,
    iterations: int = 50,
    overshoot: float = 0.02,
) -> Tensor:
    """The length of a displacement that changes the classification, for each example.

    From where it is, each input goes to the nearest boundary of the linearized classifier, until
    its class is not the true one any more (Moosavi-Dezfooli, Fawzi and Frossard,
    arXiv:1511.04599, algorithm 2; for ℓ∞ their section 3.3). The displacement is made longer by
    ``overshoot``, to get beyond the boundary and not onto it, and its whole length is returned:
    an upper bound of the distance, for linear classifiers (1 + overshoot) times the distance.

    Args:
        context: The network.
        inputs: Examples.
        norm: ``l2`` or ``linf``.
        iterations: Most linearizations.
        overshoot: Relative.

    Returns:
        Shape ``(n,)``: 0 for misclassified examples, infinity where no displacement was found.
    """
    return torch.cat(
        [
            _of_pass(context, x, y, norm, iterations, overshoot)
            for x, y in inputs.passes(context.examples_per_pass)
        ]
    )


def _of_pass(
    context: MeasureContext, x: Tensor, y: Tensor, norm: Norm, iterations: int, overshoot: float
) -> Tensor:
    found = x.new_full((len(x),), torch.inf)
    total = torch.zeros_like(x)
    active = torch.arange(len(x), device=x.device)
    for iteration in range(iterations + 1):
        moved = (1 + overshoot) * total[active]
        logits, gradients = class_gradients(context, x[active] + moved)
        ahead = lead(logits, y[active])
        over = ahead < 0
        found[active[over]] = lengths(moved[over], norm)
        found[active[ahead.isnan()]] = torch.nan
        going = ahead >= 0
        active = active[going]
        if not len(active) or iteration == iterations:
            break
        total[active] += _to_boundary(logits[going], gradients[going], y[active], norm).view_as(
            total[active]
        )
    return found


def _to_boundary(logits: Tensor, gradients: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """The shortest step to a boundary of the linearized classifier, flat."""
    distances, slopes = boundary_distances(logits, gradients, y, norm)
    # Where a pair has no slope there is no way to its boundary, even from upon it.
    distances = torch.where(dual_lengths(slopes, norm) > 0, distances, torch.inf)
    distance, nearest = distances.min(dim=1)
    slope = slopes[torch.arange(len(y), device=y.device), nearest]
    # A tie is left in the direction of the other class, by a hair.
    distance = distance.clamp_min(torch.finfo(slopes.dtype).eps)
    if norm == "linf":
        step = distance[:, None] * slope.sign()
    else:
        size = lengths(slope, "l2")[:, None]
        step = distance[:, None] * slope / torch.where(size > 0, size, torch.ones_like(size))
    # Without any slope there is nowhere to go.
    return torch.where(distance[:, None].isfinite(), step, torch.zeros_like(step))


class DeepfoolMargin(Measure):
    """Summaries of DeepFool's distances on the training split.

    The names are those of ``input_margin`` with ``deepfool_margin``; the variant is the norm.
    Misclassified examples count as 0; those for which no displacement was found within the
    iterations, for example because all hidden units are off, are counted in
    ``deepfool_margin_infinite_share``, and the mean is NaN if there are any among the correct.
    An upper bound of the distance, in the units of the standardized inputs. Invariances as of
    ``input_margin``. Higher is expected to be better. Cost: classes backward passes for each
    iteration, mostly 2 to 10 iterations.
    """

    entries = distance_entries(
        "deepfool_margin",
        "‖r‖ of DeepFool",
        "Moosavi-Dezfooli, Fawzi, Frossard, arXiv:1511.04599, algorithm 2",
        "2 to 10 times classes G over the examples chosen",
        "infinite_share",
    )

    requires = INPUT_GRADIENTS

    def __init__(self, options: DeepfoolMarginOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the summaries.

        Raises:
            MeasureError: If there is one class only.
        """
        options = self.options
        inputs = chosen_inputs(context, "train", options.examples)
        correct = margins(logits_of(context, inputs.x), inputs.y) >= 0
        values = deepfool(
            context,
            inputs,
            options.norm,
            iterations=options.iterations,
            overshoot=options.overshoot,
        )
        found = Distances("train", values, values == torch.inf, correct)
        yield from summarize_distances("deepfool_margin", options.norm, found, "infinite_share")
