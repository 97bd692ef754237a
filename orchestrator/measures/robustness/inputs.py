"""The examples whose inputs are moved, and what all such measures ask of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.data.stratification import stratified_order
from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.network import in_precision
from orchestrator.random_streams import stream_seed


@dataclass(frozen=True)
class Inputs:
    """Some examples of one split.

    Attributes:
        split: Which split they are of.
        x: Shape ``(n, *input_shape)``, in the context's precision; in the standardized units
            in which the network sees them.
        y: Labels, shape ``(n,)``.
    """

    split: Split
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def passes(self, examples: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels of at most so many examples at a time."""
        yield from zip(torch.split(self.x, examples), torch.split(self.y, examples), strict=True)


def chosen_inputs(context: MeasureContext, split: Split, examples: int) -> Inputs:
    """At most so many of the measured examples: a stratified subset, the same for every network.

    Raises:
        MeasureError: If inputs are not real numbers, as token ids are not.
    """

    def choose() -> Inputs:
        x, y = context.data(split)
        if not x.is_floating_point():
            raise MeasureError(
                f"inputs are of type {str(x.dtype).removeprefix('torch.')}, such as token ids, and "
                "not real numbers: they cannot be moved by a little, and distances between them "
                "mean nothing"
            )
        if examples < len(y):
            order = stratified_order(y, stream_seed(0, "moved_examples", split))
            chosen = order[:examples].sort().values
            context.subsets[split, examples] = context.positions(split)[chosen.cpu()]
            x, y = x[chosen.to(x.device)], y[chosen.to(y.device)]
        return Inputs(split, in_precision(x, context.dtype), y)

    return context.shared(("inputs", split, examples), choose)


def logits_of(context: MeasureContext, x: Tensor) -> Tensor:
    """Logits of inputs, shape ``(n, classes)``, without gradient, pass by pass."""
    with torch.no_grad():
        passes = torch.split(x, context.examples_per_pass)
        return torch.cat([context.forward(part) for part in passes])


def lead(logits: Tensor, labels: Tensor) -> Tensor:
    """How far ``labels`` are ahead of the best other class, z_y − max_{j≠y} z_j; shape ``(n,)``."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
