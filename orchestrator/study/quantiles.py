"""Quantiles of the distributions of a random search, with the same digits on every machine.

They are computed in decimal arithmetic, whose logarithm and exponential are correctly rounded by
specification. Those of the C library differ between machines in the last digit.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from math import floor

SIGNIFICANT_DIGITS = 6
"""Significant digits of drawn numbers: short to read, and as many as a report shows."""

_EXACT = Context(prec=28, rounding=ROUND_HALF_EVEN)
_SHORT = Context(prec=SIGNIFICANT_DIGITS, rounding=ROUND_HALF_EVEN)
_HALF = Decimal("0.5")


def fraction_of(bits: int) -> Decimal:
    """Return the middle of one of 2⁶³ equal parts of the unit interval, so never 0 or 1."""
    return _EXACT.divide(Decimal(2 * bits + 1), Decimal(1 << 64))


def uniform(low: float, high: float, fraction: Decimal) -> float:
    """Return a quantile of the uniform distribution from ``low`` to ``high``, rounded.

    >>> uniform(0.0, 0.3, Decimal("0.5"))
    0.15
    """
    return _rounded(low, high, _between(_decimal(low), _decimal(high), fraction))


def log_uniform(low: float, high: float, fraction: Decimal) -> float:
    """Return a quantile of the log-uniform distribution from ``low`` to ``high``, rounded.

    >>> log_uniform(0.01, 1.0, Decimal("0.5"))
    0.1
    """
    return _rounded(low, high, _log_between(_decimal(low), _decimal(high), fraction))


def integer(low: int, high: int, fraction: Decimal) -> int:
    """Return a quantile of the uniform distribution of integers from ``low`` to ``high``.

    Both ends are included.

    >>> [integer(1, 3, Decimal(u)) for u in ("0.3", "0.4", "0.7")]
    [1, 2, 3]
    """
    return _whole(low, high, _between(Decimal(low), Decimal(high + 1), fraction))


def log_integer(low: int, high: int, fraction: Decimal) -> int:
    """Return a quantile of the log-uniform distribution of integers from ``low`` to ``high``.

    It is a number log-uniform from ``low`` − ½ to ``high`` + ½, rounded to the nearest integer.
    The number n has probability log((n + ½) / (n − ½)) / log((high + ½) / (low − ½)).

    >>> [log_integer(16, 256, Decimal(u)) for u in ("0", "0.5", "1")]
    [16, 63, 256]
    """
    ends = _EXACT.subtract(Decimal(low), _HALF), _EXACT.add(Decimal(high), _HALF)
    return _whole(low, high, _EXACT.add(_log_between(*ends, fraction), _HALF))


def _decimal(number: float) -> Decimal:
    """Return the decimal number as written in the study file."""
    return Decimal(repr(number))


def _between(low: Decimal, high: Decimal, fraction: Decimal) -> Decimal:
    return _EXACT.fma(_EXACT.subtract(high, low), fraction, low)


def _log_between(low: Decimal, high: Decimal, fraction: Decimal) -> Decimal:
    return _EXACT.exp(_between(_logarithm(low), _logarithm(high), fraction))


@lru_cache
def _logarithm(number: Decimal) -> Decimal:
    return _EXACT.ln(number)


def _rounded(low: float, high: float, number: Decimal) -> float:
    return min(max(low, float(_SHORT.plus(number))), high)


def _whole(low: int, high: int, number: Decimal) -> int:
    return min(max(low, floor(number)), high)
