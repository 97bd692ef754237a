"""Scaling of numbers so large or small that their squares overflow or underflow."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.statistics.intervals.estimate import FloatArray

_LEAST, _MOST = 2.0**-200, 2.0**200
"""Bounds within which fourth powers, and long sums of them, neither overflow nor underflow."""


def power_of_two(values: FloatArray) -> int:
    """Return the exponent of two that scales finite values to usual magnitudes; 0 if they are.

    >>> power_of_two(np.array([0.0, 3.0])), power_of_two(np.array([2.0**1000, 1.0]))
    (0, 1001)
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0 or _LEAST <= largest <= _MOST:
        return 0
    return math.frexp(largest)[1]


def usual(values: FloatArray) -> FloatArray:
    """Divide finite values of unusual magnitude by a power of two; return others unchanged.

    Unit-free statistics, such as correlations and shares, do not change.
    """
    scaled: FloatArray = np.ldexp(values, -power_of_two(values))
    return scaled


def back(value: float | None, power: int) -> float | None:
    """Return ``value · 2**power``; infinite on overflow, None for None."""
    if value is None or power == 0:
        return value
    with np.errstate(over="ignore"):
        return float(np.ldexp(value, power))
