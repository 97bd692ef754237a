"""DeepFool: distances to the decision boundary by repeated linearization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from orchestrator.measures.base import Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.output_margins import margins
from orchestrator.measures.robustness.ball import Norm, lengths
from orchestrator.measures.robustness.distances import (
    Distances,
    distance_entries,
    summarize_distances,
)
from orchestrator.measures.robustness.inputs import Inputs, chosen_inputs, lead, logits_of
from orchestrator.measures.robustness.linearized import Boundaries
from orchestrator.measures.trust.finding import INPUT_GRADIENTS
from orchestrator.study.measure_options.robustness import DeepfoolMarginOptions


@dataclass(frozen=True)
class Search:
    """What DeepFool found for each example.

    Attributes:
        distances: Shape ``(n,)``: 0 for misclassified examples, infinity where no displacement
            was found, NaN where the logits are not numbers.
        no_slope: Shape ``(n,)``, bool: the search came to where no boundary has a slope, as where
            all hidden units are off.
        cycled: Shape ``(n,)``, bool: the search came back to where it had been.
    """

    distances: Tensor
    no_slope: Tensor
    cycled: Tensor

    def reason(self, iterations: int) -> str | None:
        """Why displacements were not found, and for how many examples; None if all were.

        Args:
            iterations: Most linearizations.
        """
        unfinished = (self.distances == torch.inf) & ~self.no_slope & ~self.cycled
        counts = {
            "came to where no boundary has a slope": self.no_slope,
            "cycled": self.cycled,
            f"did not converge in {iterations} linearizations": unfinished,
        }
        parts = [f"{int(found.sum())} {what}" for what, found in counts.items() if found.any()]
        return f"of {len(unfinished)} examples {', '.join(parts)}" if parts else None


def deepfool(
    context: MeasureContext,
    inputs: Inputs,
    norm: Norm,
    *,
    iterations: int = 50,
    overshoot: float = 0.02,
) -> Search:
    """The length of a displacement that changes the classification, for each example.

    From its present position, each input moves to the nearest boundary of the linearized
    classifier, until its class differs from the true one (Moosavi-Dezfooli, Fawzi and Frossard,
    arXiv:1511.04599, algorithm 2; for ℓ∞ their section 3.3). The displacement is lengthened by
    ``overshoot``, to get beyond the boundary and not onto it, and its whole length is returned:
    an upper bound of the distance, for linear classifiers (1 + overshoot) times the distance.

    Where pieces of the classifier meet, steps can alternate between them and shrink for ever. No
    step is shorter than √ε of the displacement, so that such a search ends beyond the boundary
    and rounding does not decide where. A search that returns to an earlier position has no end
    and stops; as in Brent 1980, "An improved Monte Carlo factorization algorithm", the position
    is compared with that of the last iteration that was a power of two.

    Args:
        context: The network.
        inputs: Examples.
        norm: ``l2`` or ``linf``.
        iterations: Most linearizations.
        overshoot: Relative.

    Returns:
        The distances, and why the infinite ones are.
    """
    found = [
        _of_pass(context, x, y, norm, iterations, overshoot)
        for x, y in inputs.passes(context.examples_per_pass)
    ]
    return Search(
        torch.cat([one.distances for one in found]),
        torch.cat([one.no_slope for one in found]),
        torch.cat([one.cycled for one in found]),
    )


def _of_pass(
    context: MeasureContext, x: Tensor, y: Tensor, norm: Norm, iterations: int, overshoot: float
) -> Search:
    found = x.new_full((len(x),), torch.inf)
    no_slope, cycled = (torch.zeros_like(y, dtype=torch.bool) for _ in range(2))
    total = torch.zeros_like(x)
    earlier = total
    rounding = torch.finfo(x.dtype).eps ** 0.5
    active = torch.arange(len(x), device=x.device)
    for iteration in range(iterations + 1):
        moved = (1 + overshoot) * total[active]
        boundaries = Boundaries(context, x[active] + moved, y[active], norm)
        ahead = lead(boundaries.logits, y[active])
        over = ahead < 0
        found[active[over]] = lengths(moved[over], norm)
        found[active[ahead.isnan()]] = torch.nan
        going = ahead >= 0
        active = active[going]
        if not len(active) or iteration == iterations:
            break
        if iteration & (iteration - 1) == 0:  # 0 or a power of two
            earlier = total.clone()
        shortest = rounding * lengths(total[active], norm)
        step = _to_boundary(boundaries, going, norm, shortest)
        total[active] += step.view_as(total[active])
        away = lengths(total[active] - earlier[active], norm)
        stuck = lengths(step, norm) == 0
        back = ~stuck & (away <= rounding * lengths(total[active], norm) / 2)
        no_slope[active[stuck]] = True
        cycled[active[back]] = True
        active = active[~stuck & ~back]
        if not len(active):
            break
    return Search(found, no_slope, cycled)


def _to_boundary(boundaries: Boundaries, which: Tensor, norm: Norm, shortest: Tensor) -> Tensor:
    """The shortest step to a boundary of the linearized classifier, flat; 0 without a slope.

    Args:
        boundaries: Of one pass.
        which: For which of its examples, bool.
        norm: Of the step.
        shortest: Least length of the step, one for each of these.
    """
    # Where a pair has no slope there is no way to its boundary, even from upon it.
    distances = torch.where(boundaries.steepness > 0, boundaries.distances, torch.inf)
    distance, nearest = distances.min(dim=1)
    distance, slope = distance[which], boundaries.slope(nearest)[which]
    # A tie is left in the direction of the other class, by a hair.
    distance = distance.clamp_min(torch.finfo(slope.dtype).eps).maximum(shortest)
    if norm == "linf":
        step = distance[:, None] * slope.sign()
    else:
        size = lengths(slope, "l2")[:, None]
        step = distance[:, None] * slope / torch.where(size > 0, size, torch.ones_like(size))
    # Without any slope there is nowhere to go.
    return torch.where(distance[:, None].isfinite(), step, torch.zeros_like(step))


class DeepfoolMargin(Measure, options=DeepfoolMarginOptions):
    """Summaries of DeepFool's distances on the training split.

    The names are those of ``input_margin`` with ``deepfool_margin``; the variant is the norm.
    Misclassified examples count as 0. Examples for which no displacement was found (all hidden
    units are off, the search cycled, or it did not converge within the iterations) are counted in
    ``deepfool_margin_infinite_share``, whose row gives the number of each kind as its reason; the
    mean is NaN if any of them is classified correctly.
    An upper bound of the distance, in the units of the standardized inputs. Invariances as of
    ``input_margin``. Higher is expected to be better. Cost: classes backward passes for each
    iteration, mostly 2 to 10 iterations.
    """

    version = 3
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
        search = deepfool(
            context,
            inputs,
            options.norm,
            iterations=options.iterations,
            overshoot=options.overshoot,
        )
        values = search.distances
        found = Distances("train", values, values == torch.inf, correct)
        reason = search.reason(options.iterations)
        for value in summarize_distances("deepfool_margin", options.norm, found, "infinite_share"):
            explained = value.measure == "deepfool_margin_infinite_share" and value.reason is None
            yield replace(value, reason=reason) if explained else value
