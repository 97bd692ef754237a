"""The one place where figures get their axes: right for every number that results can hold.

Vega's own domains and ticks end the page for denormal and for huge numbers, and are empty where
all values are equal. So every quantitative position and colour takes its domain, its ticks and
the format of its labels from a :class:`Span`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

LEAST, MOST = 1e-300, 1e300
"""Axes reach no further than these magnitudes; what lies beyond is drawn on their end."""
_NARROWEST = 5e-5
"""Least length of a linear axis as a share of its numbers: charts hold six digits of each."""
_MANTISSAS: tuple[tuple[int, ...], ...] = ((1, 2, 5), (1, 3), (1,))
_ROOM_FOR_ONE = 1.3
_PLAIN_LEAST, _PLAIN_MOST = 1e-4, 1e6  # Between them labels have no exponent.
_LONGEST = 1e8  # On logarithmic axes the format g writes all zeros of twelve digits.

Kind = Literal["linear", "log", "symlog"]


@dataclass(frozen=True)
class Span:
    """What an axis covers.

    Attributes:
        low: Its lower end, finite.
        high: Its upper end, finite and above ``low``.
        ticks: Round numbers inside, rising, at least one.
        form: Format of their labels, of d3-format.
        kind: Whether equal lengths are equal differences or equal ratios; ``symlog`` is linear
            around zero and logarithmic beyond.
        constant: Of ``symlog``: about where it turns from linear to logarithmic.
        cut: Whether numbers lie beyond the largest or smallest magnitude of an axis.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    form: str
    kind: Kind = "linear"
    constant: float | None = None
    cut: bool = False

    def scale(self, **more: Any) -> alt.Scale:
        """The Vega-Lite scale; ``more`` are further properties of it."""
        found: dict[str, Any] = {"domain": [self.low, self.high], "nice": False}
        if self.kind != "linear":
            found["type"] = self.kind
        if self.constant is not None:
            found["constant"] = self.constant
        if self.cut:
            found["clamp"] = True
        return alt.Scale(**{**found, **more})

    def axis(self, **more: Any) -> alt.Axis:
        """The Vega-Lite axis; ``more`` are further properties of it."""
        return alt.Axis(**{"values": list(self.ticks), "format": self.form, **more})

    def legend(self, **more: Any) -> alt.Legend:
        """The Vega-Lite legend, where the scale is one of colours."""
        return alt.Legend(**{"values": list(self.ticks), "format": self.form, **more})


def linear(values: Iterable[float | None], share: float = 0.05, most: int = 6) -> Span:
    """A linear axis a little longer than its values, so that no mark lies on its end.

    Args:
        values: What is drawn; what is None or not finite is not.
        share: Room at each end, as a share of the range of values.
        most: About how many labels there is room for.
    """
    found = _finite(values)
    inside = [max(-MOST, min(MOST, value)) for value in found] or [0.0]
    low, high = min(inside), max(inside)
    size = max(abs(low), abs(high))
    if low == high:
        room = abs(low) * share or 1.0
    else:
        room = max((high - low) * share, size * _NARROWEST / 2)
    room = max(room, LEAST)
    low, high = six_digits(low - room), six_digits(high + room)
    ticks, step = _linear_ticks(low, high, most)
    return Span(low, high, ticks, _form(ticks, step), cut=any(abs(one) > MOST for one in found))


def logarithmic(
    values: Iterable[float | None],
    factor: float = _ROOM_FOR_ONE,
    most: int = 7,
    form: str = "",
) -> Span:
    """A logarithmic axis a little longer than its values, with few, round labels.

    Args:
        values: What is drawn; what is None, not finite or not positive is not.
        factor: Room at each end; 1 for none, unless all values are equal.
        most: About how many labels there is room for.
        form: Format of the labels, where it is not to be chosen.
    """
    found = [value for value in _finite(values) if value > 0]
    inside = [max(LEAST, min(MOST, value)) for value in found] or [1.0]
    low, high = six_digits(min(inside)), six_digits(max(inside))
    room = factor if low < high else max(factor, _ROOM_FOR_ONE)
    low, high = six_digits(low / room), six_digits(high * room)
    ticks, chosen = _log_ticks(low, high, most)
    cut = any(not LEAST <= value <= MOST for value in found)
    return Span(low, high, ticks, form or chosen, "log", cut=cut)


def symmetric_logarithmic(
    values: Iterable[float | None], constant: float, share: float = 0.02, most: int = 6
) -> Span:
    """An axis with zero on it that is linear around there and logarithmic beyond, on both sides.

    Args:
        values: What is drawn; what is None or not finite is not.
        constant: About where it turns from linear to logarithmic.
        share: Room at each end, as a share of the range of values.
        most: About how many labels there is room for on the longer side.
    """
    span = linear([0.0, *values], share)
    longest = max(abs(span.low), abs(span.high))
    # Their ratio is part of the formula: it has to stay a number.
    constant = six_digits(min(max(constant, longest / 1e12, LEAST), longest))
    ticks = _log_ticks(constant / _ROOM_FOR_ONE, longest, most)[0]
    signed = (*(-tick for tick in reversed(ticks)), 0.0, *ticks)
    inside = tuple(tick for tick in signed if span.low <= tick <= span.high)
    return Span(span.low, span.high, inside, "~g", "symlog", constant, span.cut)


def counts(most: int) -> Span:
    """A linear axis of whole numbers from 0 to ``most``, or to 1."""
    high = float(max(1, most))
    ticks = tuple(tick for tick in _linear_ticks(0.0, high, 8)[0] if tick == int(tick))
    return Span(0.0, high, ticks, ",d")


CORRELATIONS = Span(-1.0, 1.0, (-1.0, -0.5, 0.0, 0.5, 1.0), ".1f")
SHARES = Span(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), ".1f")
PERCENTS = Span(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), ".0%")


def six_digits(value: float) -> float:
    """A number rounded to six significant digits: more than a screen shows only cost bytes."""
    return float(f"{value:.6g}")


def _finite(values: Iterable[float | None]) -> list[float]:
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def _linear_ticks(low: float, high: float, most: int) -> tuple[tuple[float, ...], float]:
    """Multiples of the smallest round step that gives at most ``most`` of them, and the step."""
    exponent = math.floor(math.log10(high / most - low / most))
    for power in range(exponent, exponent + 3):
        for mantissa in (1, 2, 5):
            step = _round_number(mantissa, power)
            numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
            ticks = [_round_number(number * mantissa, power) for number in numbers]
            # Rounded, the outermost can lie beyond the ends.
            inside = tuple(tick for tick in ticks if low <= tick <= high)
            if 0 < len(inside) <= most:
                return inside, step
    return (six_digits(low / 2 + high / 2),), high / 2 - low / 2


def _log_ticks(low: float, high: float, most: int) -> tuple[tuple[float, ...], str]:
    """Round numbers of a logarithmic axis, and the format of their labels."""
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    inside: list[float] = []
    for mantissas in _MANTISSAS:
        ticks = [_round_number(mantissa, power) for power in decades for mantissa in mantissas]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            break
    if len(inside) > 1:
        stride = -(-len(inside) // most)
        shown = tuple(inside[::stride])
        return shown, "~g" if shown[-1] < _LONGEST else ".0e"
    # Within a factor of two: as round as a linear axis of that length.
    found, step = _linear_ticks(low, high, most)
    return found, _form(found, step)


def _form(ticks: tuple[float, ...], step: float) -> str:
    """A format that tells ticks apart, without an exponent where they are of common size."""
    largest = max(map(abs, ticks))
    if largest == 0:
        return "~g"
    last = math.floor(math.log10(step) + 1e-9)
    if largest < _PLAIN_MOST and step >= _PLAIN_LEAST:
        return f",.{max(0, -last)}f"
    digits = math.floor(math.log10(largest)) - last + 1
    return f".{min(max(digits, 1), 6)}~g"


def _round_number(mantissa: int, power: int) -> float:
    """``mantissa · 10**power``, rounded once."""
    return float(f"{mantissa}e{power}")
