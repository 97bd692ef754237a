"""Prequential description length: how few nats tell the labels, if one learns while reading them.

It judges a way of training rather than a trained network: each block of labels is predicted by a
network that was trained on all the blocks before. So it is a function for notebooks and no measure
of a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

import torch
from torch import Tensor

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.margins.calibration import best_temperature
from orchestrator.training.cross_entropy import cross_entropy

Predictor = Callable[[Tensor], Tensor]
"""Inputs of shape (n, …) to logits of shape (n, classes): an ``nn.Module`` is one."""
Fit = Callable[[Tensor, Tensor], Predictor]
"""Trains on inputs and labels."""


@dataclass(frozen=True)
class Block:
    """What the labels of one block cost.

    Attributes:
        start: Index of its first example.
        stop: Index behind its last one.
        nats: −Σ log p(y | x, what was learned from the examples before ``start``).
        temperature: By which logits were divided.
        remark: Why the temperature was left at 1 although a better one was asked for, or "".
    """

    start: int
    stop: int
    nats: float
    temperature: float = 1.0
    remark: str = ""


@dataclass(frozen=True)
class DescriptionLength:
    """The whole code.

    Attributes:
        blocks: The parts that it is summed from.
        classes: How many labels there are to tell apart.
    """

    blocks: tuple[Block, ...]
    classes: int

    @property
    def nats(self) -> float:
        """Σ over blocks. Divide by log 2 for bits."""
        return sum(block.nats for block in self.blocks)

    @property
    def per_label(self) -> float:
        """Nats a label; log(classes) is what knowing nothing costs."""
        return self.nats / self.blocks[-1].stop


def prequential_description_length(
    fit: Fit,
    inputs: Tensor,
    labels: Tensor,
    classes: int,
    boundaries: Sequence[int],
    held_out: float = 0.0,
) -> DescriptionLength:
    """Σ_k −log p(y_{s_k}, …, y_{s_{k+1}−1} | x, θ(D_{<s_k})), the first block coded uniformly.

    Blier and Ollivier, arXiv:1802.07044, section 3.4; Bornschein, Visin and Osindero,
    arXiv:2006.03009. Lower means a shorter description. It depends on the order of the examples:
    shuffle them, and repeat with other orders and seeds for its spread. Cost: one training a block.

    Args:
        fit: Trains from scratch on the inputs and labels it is given.
        inputs: Shape ``(n, …)``, in the order in which they are told.
        labels: Shape ``(n,)``.
        classes: How many there are; the first block costs s_1 log(classes).
        boundaries: s_1 < s_2 < … ≤ n, where blocks end.
        held_out: Share of the known examples, the last ones, that ``fit`` is not given: the
            temperature of the predictions is fitted on them. Without it an overconfident network
            pays more for its certainty than for its errors. 0 leaves the logits as they are.

    Raises:
        MeasureError: If the boundaries don't rise from at least 1 to at most n, a label is out of
            range, ``held_out`` is not in [0, 1), or a predictor returns another shape.
    """
    _check(inputs, labels, classes, boundaries, held_out)
    blocks = [Block(0, boundaries[0], boundaries[0] * log(classes))]
    for start, stop in pairwise(boundaries):
        known = start - int(held_out * start)
        predict = fit(inputs[:known].clone(), labels[:known].clone())
        temperature, remark = 1.0, ""
        if known < start:
            try:
                logits = _logits(predict, inputs[known:start], classes)
                temperature = best_temperature(logits, labels[known:start])
            except MeasureError as error:
                remark = error_text(error)
        told = labels[start:stop]
        logits = _logits(predict, inputs[start:stop], classes) / temperature
        nats = cross_entropy(logits, told).sum().item()
        blocks.append(Block(start, stop, nats, temperature, remark))
    return DescriptionLength(tuple(blocks), classes)


def _check(
    inputs: Tensor, labels: Tensor, classes: int, boundaries: Sequence[int], held_out: float
) -> None:
    n = len(labels)
    if len(inputs) != n:
        raise MeasureError(f"{len(inputs)} inputs, but {n} labels")
    if not boundaries or boundaries[0] < 1 or boundaries[-1] > n:
        raise MeasureError(f"boundaries must lie between 1 and {n}, got {list(boundaries)}")
    if any(after <= before for before, after in pairwise(boundaries)):
        raise MeasureError(f"boundaries must rise, got {list(boundaries)}")
    if not 0 <= held_out < 1:
        raise MeasureError(f"held_out must be at least 0 and less than 1, got {held_out:g}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise MeasureError(f"labels must lie in 0 … {classes - 1}, got {low} … {high}")


def _logits(predict: Predictor, inputs: Tensor, classes: int) -> Tensor:
    with torch.no_grad():
        logits = predict(inputs.clone())  # It may write into what it is given.
    if logits.shape != (len(inputs), classes):
        raise MeasureError(
            f"a predictor must return logits of shape ({len(inputs)}, {classes}), "
            f"got {tuple(logits.shape)}"
        )
    return logits.to(torch.float64)
