"""What every learning-rate schedule builds on: the factor of an update, and warm-up."""

from __future__ import annotations

from collections.abc import Callable

LearningRateFactor = Callable[[int], float]
"""Maps the number of updates made to the factor of the learning rate."""


def warm(warmup: float, update: int) -> float:
    """Return min(1, (k + 1) / w), the factor of update k (counted from 0) after w warm-up ones."""
    return min(1.0, (update + 1) / warmup) if warmup else 1.0
