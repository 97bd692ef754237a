"""Temperature scaling: the temperature that calibrates the network's confidence."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import torch
from torch import Tensor

from orchestrator.data.stratification import stratified_order
from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.random_streams import stream_seed

COLDEST = 1e-4
HOTTEST = 1e4
_STEPS = 60


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the test examples that were not used to fit it.

    Attributes:
        temperature: T, by which logits are divided.
        others: Indices of the measured test examples not used to fit T, ascending.
    """

    temperature: float
    others: Tensor


def calibration(context: MeasureContext) -> Calibration:
    """Return the temperature that minimizes cross-entropy on one half of the test split.

    That half is fixed and stratified. Cross-entropy is convex in 1/T (Guo et al.,
    arXiv:1706.04599, section 4.2), so its derivative has one zero, which bisection finds.

    Raises:
        MeasureError: If no temperature between 1e-4 and 1e4 is optimal, because the half is
            classified perfectly (confidence could grow without bound) or worse than by chance.
            Also if logits are not finite, or the split has only one test example.
    """

    def compute() -> Calibration:
        labels = context.data.labels("test")
        order = stratified_order(labels, stream_seed(0, "calibration_examples"))
        half = len(labels) // 2
        if not half:
            raise MeasureError("calibration needs at least two test examples")
        held_out, others = order[:half].to(labels.device), order[half:].sort().values
        z = context.logits("test").to(torch.float64)[held_out]
        return Calibration(best_temperature(z, labels[held_out]), others.to(labels.device))

    return context.shared("calibration", compute)


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the T at which the mean cross-entropy of logits / T is smallest.

    Args:
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.

    Raises:
        MeasureError: As :func:`calibration`.
    """
    z = logits.to(torch.float64)
    if not z.isfinite().all():
        raise MeasureError("calibration: logits are not finite")
    own = z.gather(1, labels[:, None])[:, 0]

    def slope(inverse: float) -> float:
        """Return the derivative of the cross-entropy of ``inverse`` · z; it never decreases."""
        mean = (z * (inverse * z).softmax(dim=1)).sum(dim=1)
        return float((mean - own).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(high) <= 0:
        raise MeasureError("calibration: the held-out examples are all classified correctly")
    if slope(low) >= 0:
        raise MeasureError("calibration: logits predict held-out examples no better than chance")
    for _ in range(_STEPS):
        middle = exp((log(low) + log(high)) / 2)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)
