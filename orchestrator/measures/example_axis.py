"""Test whether the first axis of a tensor inside a network is the example axis.

A first axis of the right length proves nothing, since a time axis may have the same length.
``Separation`` therefore runs a network on two different numbers of real examples. The rows of a
tensor belong to the examples under two conditions: their number follows the number of examples,
and the gradient of each row of logits vanishes at all other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.network import in_precision

MANY, FEW = 8, 5
"""The two numbers of examples."""

Place = Tensor | GradientEdge
"""A tensor in a graph, or the edge at which its gradient arrives."""


def probe_examples(context: MeasureContext, n: int = MANY) -> tuple[Tensor, Tensor]:
    """Return ``n`` training inputs and labels, evenly spaced; small splits are repeated."""
    inputs, labels = context.data("train")
    total = len(inputs)
    places = torch.arange(n) * total // n if n <= total else torch.arange(n) % total
    places = places.to(inputs.device)
    return in_precision(inputs[places], context.dtype), labels[places]


def follow_examples(many: Sequence[int], few: Sequence[int]) -> bool:
    """Whether the first axis, and no other, follows the number of examples.

    Args:
        many: Shape of a tensor in a pass of ``MANY`` examples.
        few: Shape of the same tensor in a pass of ``FEW`` examples.
    """
    return tuple(many[:1]) == (MANY,) and tuple(few[:1]) == (FEW,) and many[1:] == few[1:]


def separate_rows(logits: Tensor, places: Sequence[Place]) -> list[bool]:
    """Whether each row of logits depends only on its own row.

    If the rows of logits are weighted by powers of two, the gradient at each row of a tensor must
    be the unweighted gradient times that row's power. This takes two backward passes for any number
    of rows.

    Args:
        logits: Logits of shape ``(MANY, classes)`` with their graph, which is kept.
        places: Tensors in that graph, or their edges, with ``MANY`` rows each.

    Returns:
        One entry per element of ``places``; True if no gradient arrives there.
    """
    if not places or not logits.requires_grad:
        return [True] * len(places)
    # Uneven weights: with equal ones, the gradient of normalized outputs would vanish.
    columns = torch.arange(1, logits.shape[1] + 1).to(logits).sqrt()
    powers = (2.0 ** torch.arange(len(logits))).to(logits)
    inputs: Any = list(places)
    plain, weighted = (
        torch.autograd.grad(
            logits,
            inputs,
            rows[:, None] * columns,
            retain_graph=True,
            allow_unused=True,
        )
        for rows in (torch.ones_like(powers), powers)
    )
    tolerance = 1e4 * torch.finfo(logits.dtype).eps
    return [
        one is None or other is None or _scaled_by(powers, one, other, tolerance)
        for one, other in zip(plain, weighted, strict=True)
    ]


def _scaled_by(powers: Tensor, plain: Tensor, weighted: Tensor, tolerance: float) -> bool:
    expected = plain * powers.view(-1, *[1] * (plain.ndim - 1))
    largest = torch.maximum(expected.abs().amax(), weighted.abs().amax())
    return not bool(((weighted - expected).abs() > tolerance * largest).any())
