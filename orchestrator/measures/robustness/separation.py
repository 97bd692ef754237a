"""Separation of differently labelled examples, which limits the robustness the data allow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import inf

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.robustness.ball import Norm
from orchestrator.measures.robustness.inputs import Inputs, chosen_inputs
from orchestrator.study.measure_options.robustness import SeparationOptions

NUMBERS_AT_ONCE = 2**24
"""Maximum number of entries of a distance matrix in memory; the result does not depend on it."""


def separation(one: Inputs, other: Inputs, norm: Norm) -> tuple[float, int]:
    """Return the smallest distance between differently labelled examples, and the conflicts.

    Args:
        one: Examples.
        other: Examples, possibly the same.
        norm: ``l2`` or ``linf``.

    Returns:
        The distance, infinity if all labels are the same; and the number of conflicts, i.e.
        examples of ``one`` for which an identical example with another label exists.
    """
    smallest, conflicts = inf, 0
    x, others = one.x.flatten(1), other.x.flatten(1)
    rows = max(1, NUMBERS_AT_ONCE // max(1, others.numel()))
    for part, labels in zip(torch.split(x, rows), torch.split(one.y, rows), strict=True):
        distances = _distances(part, others, norm)
        different = labels[:, None] != other.y[None, :]
        distances = torch.where(different, distances, inf)
        nearest = distances.amin(dim=1)
        smallest = min(smallest, nearest.min().item())
        conflicts += int((nearest == 0).sum())
    return smallest, conflicts


def _distances(x: Tensor, others: Tensor, norm: Norm) -> Tensor:
    # Not from inner products, which give no exact zeros.
    difference = x[:, None, :] - others[None, :, :]
    found: Tensor = torch.linalg.vector_norm(difference, ord=2.0 if norm == "l2" else inf, dim=-1)
    return found


class Separation(Measure, options=SeparationOptions):
    """The smallest distance between differently labelled examples, ``separation``.

    Computed within the training split, and from the test split to the training split; the variant
    is the norm. If the distance is 2r, a classifier exists that is both accurate and robust at
    every radius below r (Yang et al., arXiv:2003.02460). Separation is a property of the data, the
    same for every network; over a subset it is an upper bound of that of the whole.
    ``separation_conflicts`` counts examples for which an identical example has another label, so
    that the distance is 0.

    Invariances: it does not depend on the network. Higher leaves more room for robustness. Cost:
    n² distances of inputs; no pass.
    """

    entries = (
        CatalogEntry(
            "separation",
            "robustness",
            "min_{y ≠ y′} ‖x − x′‖",
            "standardized input",
            "higher",
            "Yang et al., arXiv:2003.02460, definition 1",
            "n² distances",
            "layer rescaling, logit scale",
        ),
        CatalogEntry(
            "separation_conflicts",
            "robustness",
            "#{x: x = x′, y ≠ y′}",
            "examples",
            "lower",
            "Yang et al., arXiv:2003.02460, definition 1",
            "shared with separation",
            "layer rescaling, logit scale",
        ),
    )

    requires = frozenset()

    def __init__(self, options: SeparationOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield both values for each split and norm."""
        train = chosen_inputs(context, "train", self.options.examples)
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            inputs = chosen_inputs(context, split, self.options.examples)
            for norm in self.options.norms:
                distance, conflicts = separation(inputs, train, norm)
                value = partial(Value, variant=norm, split=split, n_examples=len(inputs))
                reason = None if distance < inf else "all examples have the same label"
                yield value("separation", distance, reason=reason)
                yield value("separation_conflicts", conflicts)
