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
    """Half a standard deviation of the data in every coordinate, as a radius of ``norm``."""
    return 0.5 if norm == "linf" else 0.5 * sqrt(inputs.x[0].numel())


def pgd_distances(
    context: MeasureContext, inputs: Inputs, settings: Settings, largest: float, bisections: int
) -> tuple[Tensor, Tensor]:
    """The smallest radius at which an attack was seen to succeed, for each example.

    The attack is tried at ``largest`` and then at the middle of what is left. A success also
    tells the length of its own displacement, which may be less than the radius. So each
    distance is the length of a displacement that changes the class: an upper bound.

    Args:
        context: The network.
        inputs: Examples.
        settings: Of the attack (``attack.flip``).
        largest: Radius beyond which nothing is looked for.
        bisections: How often the interval is halved.

    Returns:
        Distances, shape ``(n,)``: 0 for misclassified examples, ``largest`` where nothing was
        found; and for which examples nothing was found, shape ``(n,)``, bool: there the distance
        is censored.
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
        # First at the largest radius, of which it is not known whether anything is within.
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

    On a fixed subset of the training split; the variant is the norm. The names are those of
    ``input_margin`` with ``pgd_margin``. An example that withstands the attack at the largest
    radius is right-censored: it is counted in ``pgd_margin_censored_share``, quantiles are those
    of the Kaplan-Meier estimate, in which it stays as censored, and the mean over correct
    examples is NaN as soon as one of them is. Misclassified examples count as 0.

    An upper bound of the distance, in the units of the standardized inputs; ascents of which all
    but the first start at random points, the same for every network. Invariances as of
    ``input_margin``. Higher is expected to be better. Cost: steps · restarts · (bisections + 1)
    gradients over the examples chosen.
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
            MeasureError: If there is one class only.
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
