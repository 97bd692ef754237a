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
    """DeepFool's result for each example.

    Attributes:
        distances: Shape ``(n,)``; 0 for misclassified examples, infinity if no displacement
            was found, NaN if the logits are NaN.
        no_slope: Whether the search reached a point where no boundary has a slope, for example
            because all hidden units are inactive; shape ``(n,)``, bool.
        cycled: Whether the search returned to an earlier point; shape ``(n,)``, bool.
    """

    distances: Tensor
    no_slope: Tensor
    cycled: Tensor

    def reason(self, iterations: int) -> str | None:
        """Return why displacements were not found, and for how many examples; None if all were.

        Args:
            iterations: Maximum number of linearizations.
        """
        unfinished = (self.distances == torch.inf) & ~self.no_slope & ~self.cycled
        counts = {
            "reached a point where no boundary has a slope": self.no_slope,
            "cycled": self.cycled,
            f"did not converge in {iterations} linearizations": unfinished,
        }
        parts = [f"{int(found.sum())} {what}" for what, found in counts.items() if found.any()]
        return f"of {len(unfinished)} examples, {', '.join(parts)}" if parts else None


def deepfool(
    context: MeasureContext,
    inputs: Inputs,
    norm: Norm,
    *,
    iterations: int = 50,
    overshoot: float = 0.02,
) -> Search:
    """Return the length of a displacement that changes the classification, for each example.

    Each input moves from its current position to the nearest boundary of the linearized
    classifier, until its class differs from the true one (Moosavi-Dezfooli, Fawzi and Frossard,
    arXiv:1511.04599, algorithm 2; for ℓ∞ their section 3.3). The displacement is lengthened by
    ``overshoot``, so that it ends beyond the boundary and not on it. Its whole length is returned:
    an upper bound of the distance, for linear classifiers (1 + overshoot) times the distance.

    Where pieces of the classifier meet, steps could alternate between them and shrink forever. No
    step is therefore shorter than √ε of the displacement, so such a search ends beyond the
    boundary, and rounding does not decide where. A search that returns to an earlier position
    would never end, so it stops. As in Brent 1980, "An improved Monte Carlo factorization
    algorithm", the position is compared with that of the last iteration that was a power of two.

    Args:
        context: The network.
        inputs: Examples.
        norm: ``l2`` or ``linf``.
        iterations: Maximum number of linearizations.
        overshoot: Relative overshoot.

    Returns:
        The distances, and why infinite ones are infinite.
    """
    found = [
        _of_pass(context, x, y, norm, iterations, overshoot)
        for x, y in context.data.in_passes(inputs.x, inputs.y)
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
    """Return the shortest step to a boundary of the linearized classifier, flat.

    The step is 0 if no boundary has a slope.

    Args:
        boundaries: Boundaries of one pass.
        which: Mask of the examples to step, bool.
        norm: Norm of the step.
        shortest: Minimum length of the step, one per masked example.
    """
    # Without a slope, the boundary of a pair cannot be crossed, not even from a point on it.
    distances = torch.where(boundaries.steepness > 0, boundaries.distances, torch.inf)
    distance, nearest = distances.min(dim=1)
    distance, slope = distance[which], boundaries.slope(nearest)[which]
    # A tie is left by a tiny step towards the other class.
    distance = distance.clamp_min(torch.finfo(slope.dtype).eps).maximum(shortest)
    if norm == "linf":
        step = distance[:, None] * slope.sign()
    else:
        size = lengths(slope, "l2")[:, None]
        step = distance[:, None] * slope / torch.where(size > 0, size, torch.ones_like(size))
    # Without any slope no step is possible.
    return torch.where(distance[:, None].isfinite(), step, torch.zeros_like(step))


class DeepfoolMargin(Measure, options=DeepfoolMarginOptions):
    """Summaries of DeepFool's distances on the training split.

    The names are those of ``input_margin`` with ``deepfool_margin``; the variant is the norm.
    Misclassified examples count as 0. ``deepfool_margin_infinite_share`` counts the examples for
    which no displacement was found: all hidden units are inactive, the search cycled, or it did
    not converge within the iterations. Its row gives the number of each kind as its reason. The
    mean is NaN if any of these examples is classified correctly.

    The distances are upper bounds, in the units of the standardized inputs. Invariances: those of
    ``input_margin``. Higher is expected to be better. Cost: one backward pass per class and
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
            MeasureError: If the network has only one class.
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
