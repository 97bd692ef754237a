"""First-order distances to the decision boundary in input space."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.measures.base import Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.output_margins import margins
from orchestrator.measures.robustness.ball import Norm
from orchestrator.measures.robustness.distances import (
    Distances,
    distance_entries,
    summarize_distances,
)
from orchestrator.measures.robustness.inputs import Inputs, chosen_inputs
from orchestrator.measures.robustness.linearized import Boundaries
from orchestrator.measures.trust.finding import INPUT_GRADIENTS
from orchestrator.study.measure_options.robustness import InputMarginOptions


def first_order_distances(context: MeasureContext, inputs: Inputs, norm: Norm) -> Tensor:
    """Return min_{j≠y} (z_y − z_j) / ‖∇_x (z_y − z_j)‖_* of each example, over all other classes.

    This is the distance at which the order of the linearized logits changes, with ‖·‖_* the dual
    norm; it is exact for linear classifiers. The runner-up need not be the nearest class. For
    misclassified examples the distance is negative: minus the distance to the farthest violated
    boundary. If the gradient of a pair is zero, as in a region where every hidden unit is
    inactive, that boundary is infinitely far away.

    Args:
        context: The network.
        inputs: Examples.
        norm: ``l2`` (gradients in ℓ2) or ``linf`` (gradients in ℓ1).

    Returns:
        Shape ``(n,)``.

    Raises:
        MeasureError: If the network has only one class.
    """
    return torch.cat(
        [_of_pass(context, x, y, norm) for x, y in context.data.in_passes(inputs.x, inputs.y)]
    )


def _of_pass(context: MeasureContext, x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    found = Boundaries(context, x, y, norm)
    margins(found.logits, y)  # Raises for one class.
    return found.distances.amin(dim=1)


class InputMargin(Measure, options=InputMarginOptions):
    """Quantiles of the first-order distance to the decision boundary, and the infinite share.

    For each norm (the variants ``l2`` and ``linf``), on a fixed subset of each split:

    - ``input_margin_median``, ``_p10``, ``_p25``: order statistics over all examples, with
      negative distances for misclassified ones;
    - ``input_margin_mean``, ``input_margin_min``: over correctly classified examples, the average
      and the minimum margin (Wu and Yu, arXiv:1907.11780, discuss their trade-off). The mean is
      NaN if any distance is infinite, and the reason gives the number of infinite ones;
    - ``input_margin_infinite_share``: share of examples in dead regions, where every gradient is
      zero;
    - ``input_margin_misclassified_share``.

    Distances are in the units of the standardized inputs. Invariances: rescaling of layers,
    scaling of logits, permutation of units, eval-mode batch norm rescaling. Higher is expected
    to be better. Cost: one backward pass per class.

    Sokolić et al., arXiv:1605.08254; Elsayed et al., arXiv:1803.05598; Jiang et al.,
    arXiv:1810.00113, eq. 3.
    """

    entries = distance_entries(
        "input_margin",
        "min_j (z_y − z_j) / ‖∇_x (z_y − z_j)‖",
        "Elsayed et al., arXiv:1803.05598; Jiang et al., arXiv:1810.00113, eq. 3",
        "classes G over the examples chosen",
        "infinite_share",
    )

    version = 2
    requires = INPUT_GRADIENTS

    def __init__(self, options: InputMarginOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the summaries of each split and norm.

        Raises:
            MeasureError: If the network has only one class.
        """
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            inputs = chosen_inputs(context, split, self.options.examples)
            for norm in self.options.norms:
                values = first_order_distances(context, inputs, norm)
                found = Distances(split, values, values == torch.inf, values >= 0)
                yield from summarize_distances("input_margin", norm, found, "infinite_share")
