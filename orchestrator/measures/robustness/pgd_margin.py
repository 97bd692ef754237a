"""Distances to the decision boundary by projected gradient ascent and bisection."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import torch
from torch import Tensor

from orchestrator.measures.base import Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.output_margins import margins
from orchestrator.measures.robustness.attack import Settings, flip
from orchestrator.measures.robustness.ball import Norm, lengths
from orchestrator.measures.robustness.distances import (
    Distances,
    distance_entries,
    summarize_distances,
)
from orchestrator.measures.robustness.inputs import Inputs, chosen_inputs, logits_of
from orchestrator.measures.trust.finding import INPUT_GRADIENTS
from orchestrator.study.measure_options.robustness import PgdMarginOptions


def largest_radius(inputs: Inputs, norm: Norm) -> float:
    """Return half a standard deviation of the data in every coordinate, as a radius of ``norm``."""
    return 0.5 if norm == "linf" else 0.5 * sqrt(inputs.x[0].numel())


def pgd_distances(
    context: MeasureContext, inputs: Inputs, settings: Settings, largest: float, bisections: int
) -> tuple[Tensor, Tensor]:
    """Return the smallest radius at which an attack was seen to succeed, for each example.

    The attack is tried at ``largest`` and then at the midpoint of the remaining interval. A success
    also yields the length of its own displacement, which may be less than the radius. So each
    distance is the length of a displacement that changes the class, i.e. an upper bound.

    Args:
        context: The network.
        inputs: Examples.
        settings: Settings of the attack (``attack.flip``).
        largest: Largest radius searched.
        bisections: Number of times the interval is halved.

    Returns:
        Distances, shape ``(n,)``: 0 for misclassified examples, ``largest`` if no point was found.
        Also whether no point was found and the distance is censored, shape ``(n,)``, bool.
    """
    x, y = inputs.x, inputs.y
    upper = x.new_full((len(inputs),), largest)
    lower = torch.zeros_like(upper)
    succeeded = torch.zeros_like(upper, dtype=torch.bool)
    ahead = margins(logits_of(context, x), y)
    upper[ahead < 0] = 0
    active = (ahead >= 0).nonzero()[:, 0]
    for _ in range(bisections + 1):
        if not len(active):
            break
        # First at the largest radius, as it is unknown whether any point lies within it.
        radii = torch.where(succeeded, (lower + upper) / 2, upper)[active]
        flipped, displacements = flip(context, x[active], y[active], radii, settings)
        reached = lengths(displacements, settings.norm)
        upper[active] = torch.where(flipped, reached, upper[active])
        lower[active] = torch.where(flipped, lower[active], radii)
        succeeded[active] |= flipped
        active = active[succeeded[active]]
    censored = ~succeeded & (upper > 0)
    return upper, censored


class PgdMargin(Measure, options=PgdMarginOptions):
    """Summaries of the distances that projected gradient ascent with bisection finds.

    Computed on a fixed subset of the training split; the variant is the norm. The names are those
    of ``input_margin`` with ``pgd_margin``. An example that withstands the attack at the largest
    radius is right-censored and counts in ``pgd_margin_censored_share``. Quantiles are those of
    the Kaplan-Meier estimate, which includes censored examples. The mean over correct examples is
    NaN if any of them is censored. Misclassified examples count as 0.

    The distances are upper bounds, in the units of the standardized inputs. All ascents except the
    first start at random points, the same for every network. Invariances: those of
    ``input_margin``. Higher is expected to be better. Cost: steps · restarts · (bisections + 1)
    gradients over the chosen examples.
    """

    entries = distance_entries(
        "pgd_margin",
        "min ε at which PGD succeeds",
        "Madry et al., arXiv:1706.06083; Wu, Yu, arXiv:1907.11780",
        "steps · restarts · (bisections + 1) G over the examples chosen",
        "censored_share",
    )

    version = 2
    requires = INPUT_GRADIENTS

    def __init__(self, options: PgdMarginOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the summaries.

        Raises:
            MeasureError: If the network has only one class.
        """
        options = self.options
        inputs = chosen_inputs(context, "train", options.examples)
        ahead = margins(logits_of(context, inputs.x), inputs.y)
        largest = options.largest or largest_radius(inputs, options.norm)
        values, censored = pgd_distances(
            context,
            inputs,
            Settings(options.norm, options.steps, options.restarts),
            largest,
            options.bisections,
        )
        values = torch.where(ahead.isnan(), torch.nan, values)
        found = Distances("train", values, censored, ahead >= 0)
        yield from summarize_distances("pgd_margin", options.norm, found, "censored_share")
