"""Prequential description length: nats needed to encode the labels while learning from them.

It evaluates a training procedure, not a trained network: a network trained on all previous blocks
predicts the labels of the next block. It is therefore a function for notebooks, not a measure of a
snapshot.
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
from orchestrator.training.losses.cross_entropy import cross_entropy

Predictor = Callable[[Tensor], Tensor]
"""Function from inputs of shape (n, …) to logits (n, classes), such as an ``nn.Module``."""
Fit = Callable[[Tensor, Tensor], Predictor]
"""Function that trains a predictor on inputs and labels."""


@dataclass(frozen=True)
class Block:
    """Code length of the labels of one block.

    Attributes:
        start: Index of its first example.
        stop: Index after its last example.
        nats: −Σ log p(y | x, network trained on the examples before ``start``).
        temperature: Divisor of the logits.
        remark: Why the temperature stayed at 1 although fitting was requested, or "".
    """

    start: int
    stop: int
    nats: float
    temperature: float = 1.0
    remark: str = ""


@dataclass(frozen=True)
class DescriptionLength:
    """The complete code.

    Attributes:
        blocks: Blocks whose code lengths are summed.
        classes: Number of classes.
    """

    blocks: tuple[Block, ...]
    classes: int

    @property
    def nats(self) -> float:
        """Sum over blocks. Divide by log 2 for bits."""
        return sum(block.nats for block in self.blocks)

    @property
    def per_label(self) -> float:
        """Nats per label; a uniform prediction costs log(classes)."""
        return self.nats / self.blocks[-1].stop


def prequential_description_length(
    fit: Fit,
    inputs: Tensor,
    labels: Tensor,
    classes: int,
    boundaries: Sequence[int],
    held_out: float = 0.0,
) -> DescriptionLength:
    """Return Σ_k −log p(y_{s_k}, …, y_{s_{k+1}−1} | x, θ(D_{<s_k})); block 1 is coded uniformly.

    Blier and Ollivier, arXiv:1802.07044, section 3.4; Bornschein, Visin and Osindero,
    arXiv:2006.03009. Lower means a shorter description. The value depends on the order of the
    examples: shuffle them, and repeat with other orders and seeds to estimate its spread. Cost: one
    training per block.

    Args:
        fit: Function that trains from scratch on inputs and labels.
        inputs: Shape ``(n, …)``, in coding order.
        labels: Shape ``(n,)``.
        classes: Number of classes; the first block costs s_1 log(classes).
        boundaries: Ends of the blocks, s_1 < s_2 < … ≤ n.
        held_out: Fraction of the known examples, taken from their end, withheld from ``fit`` to
            fit the temperature of the predictions. Without a temperature, an overconfident network
            pays more for its confidence than for its errors. 0 leaves the logits unchanged.

    Raises:
        MeasureError: If the boundaries do not increase from at least 1 to at most n, a label is
            out of range, ``held_out`` is not in [0, 1), or a predictor returns the wrong shape.
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
        raise MeasureError(f"boundaries must be between 1 and {n}, got {list(boundaries)}")
    if any(after <= before for before, after in pairwise(boundaries)):
        raise MeasureError(f"boundaries must increase, got {list(boundaries)}")
    if not 0 <= held_out < 1:
        raise MeasureError(f"held_out must be at least 0 and less than 1, got {held_out:g}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise MeasureError(f"labels must be in 0 … {classes - 1}, got {low} … {high}")


def _logits(predict: Predictor, inputs: Tensor, classes: int) -> Tensor:
    with torch.no_grad():
        logits = predict(inputs.clone())  # The predictor may write into its inputs.
    if logits.shape != (len(inputs), classes):
        raise MeasureError(
            f"a predictor must return logits of shape ({len(inputs)}, {classes}), "
            f"got {tuple(logits.shape)}"
        )
    return logits.to(torch.float64)
