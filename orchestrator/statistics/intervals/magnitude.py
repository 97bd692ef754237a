"""Numbers so large or small that their squares are no numbers any more."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.statistics.intervals.estimate import FloatArray

_LEAST, _MOST = 2.0**-200, 2.0**200
"""Between them fourth powers and long sums of them neither overflow nor vanish."""


def power_of_two(values: FloatArray) -> int:
    """The power of two that brings finite values to usual magnitudes; 0 where they are usual.

    >>> power_of_two(np.array([0.0, 3.0])), power_of_two(np.array([2.0**1000, 1.0]))
    (0, 1001)
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0 or _LEAST <= largest <= _MOST:
        return 0
    return math.frexp(largest)[1]


def usual(values: FloatArray) -> FloatArray:
    """Finite values over a power of two where they are of unusual magnitude, else as they are.

    What does not depend on the unit, as correlations and shares, is the same for both.
    """
    scaled: FloatArray = np.ldexp(values, -power_of_two(values))
    return scaled


def back(value: float | None, power: int) -> float | None:
    """``value · 2**power``; infinite where that is beyond all numbers, None of None."""
    if value is None or power == 0:
        return value
    with np.errstate(over="ignore"):
        return float(np.ldexp(value, power))
