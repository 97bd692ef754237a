"""Axes for all figures, valid for every number that results can contain.

Vega's own domains and ticks crash the page on denormal and on huge numbers, and are empty if
all values are equal. So every quantitative position and colour takes its domain, ticks and
label format from a :class:`Span`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

LEAST, MOST = 1e-300, 1e300
"""Limits of the magnitudes on an axis; values beyond them are drawn at its end."""
_NARROWEST = 5e-5
"""Least length of a linear axis relative to its numbers: charts store six digits of each."""
_MANTISSAS: tuple[tuple[int, ...], ...] = ((1, 2, 5), (1, 3), (1,))
_ROOM_FOR_ONE = 1.3
_PLAIN_LEAST, _PLAIN_MOST = 1e-4, 1e6  # Labels between these have no exponent.
_LONGEST = 1e8  # On logarithmic axes, format g writes out all zeros of up to twelve digits.

Kind = Literal["linear", "log", "symlog"]


@dataclass(frozen=True)
class Span:
    """The range, ticks and type of an axis.

    Attributes:
        low: Lower end, finite.
        high: Upper end, finite and above ``low``.
        ticks: Round numbers inside the range, ascending, at least one.
        form: Label format, in d3-format syntax.
        kind: Scale type; ``symlog`` is linear around zero and logarithmic beyond.
        constant: Approximate value at which ``symlog`` changes from linear to logarithmic.
        cut: Whether some numbers exceed the largest or smallest magnitude of an axis.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    form: str
    kind: Kind = "linear"
    constant: float | None = None
    cut: bool = False

    def scale(self, **more: Any) -> alt.Scale:
        """Return the Vega-Lite scale; ``more`` are further scale properties."""
        found: dict[str, Any] = {"domain": [self.low, self.high], "nice": False}
        if self.kind != "linear":
            found["type"] = self.kind
        if self.constant is not None:
            found["constant"] = self.constant
        if self.cut:
            found["clamp"] = True
        return alt.Scale(**{**found, **more})

    def axis(self, **more: Any) -> alt.Axis:
        """Return the Vega-Lite axis; ``more`` are further axis properties."""
        return alt.Axis(**{"values": list(self.ticks), "format": self.form, **more})

    def x(self, field: str, title: str) -> alt.X:
        """Return the channel that draws a field along this horizontal axis."""
        return alt.X(field, title=title, scale=self.scale(), axis=self.axis())

    def y(self, field: str, title: str) -> alt.Y:
        """Return the channel that draws a field along this vertical axis."""
        return alt.Y(field, title=title, scale=self.scale(), axis=self.axis())

    def legend(self, **more: Any) -> alt.Legend:
        """Return the Vega-Lite legend of a colour scale; ``more`` are further properties."""
        return alt.Legend(**{"values": list(self.ticks), "format": self.form, **more})


def linear(values: Iterable[float | None], share: float = 0.05, most: int = 6) -> Span:
    """Return a linear axis slightly longer than the values, so that no mark lies at its end.

    Args:
        values: Values to draw; None and non-finite values are ignored.
        share: Room at each end, as a share of the range of values.
        most: Approximate maximum number of labels.
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
    """Return a logarithmic axis slightly longer than the values, with few, round labels.

    Args:
        values: Values to draw; None, non-finite and non-positive values are ignored.
        factor: Factor of room at each end; 1 adds none unless all values are equal.
        most: Approximate maximum number of labels.
        form: Label format; chosen automatically by default.
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
    """Return an axis that is linear around zero and logarithmic beyond, on both sides.

    Args:
        values: Values to draw; None and non-finite values are ignored. The axis includes zero.
        constant: Approximate value at which the axis changes from linear to logarithmic.
        share: Room at each end, as a share of the range of values.
        most: Approximate maximum number of labels on the longer side.
    """
    span = linear([0.0, *values], share)
    longest = max(abs(span.low), abs(span.high))
    # The formula contains longest / constant, which must stay finite.
    constant = six_digits(min(max(constant, longest / 1e12, LEAST), longest))
    ticks = _log_ticks(constant / _ROOM_FOR_ONE, longest, most)[0]
    signed = (*(-tick for tick in reversed(ticks)), 0.0, *ticks)
    inside = tuple(tick for tick in signed if span.low <= tick <= span.high)
    return Span(span.low, span.high, inside, "~g", "symlog", constant, span.cut)


def counts(most: int) -> Span:
    """Return a linear axis of whole numbers from 0 to ``most``, at least to 1."""
    high = float(max(1, most))
    ticks = tuple(tick for tick in _linear_ticks(0.0, high, 8)[0] if tick == int(tick))
    return Span(0.0, high, ticks, ",d")


CORRELATIONS = Span(-1.0, 1.0, (-1.0, -0.5, 0.0, 0.5, 1.0), ".1f")
SHARES = Span(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), ".1f")
PERCENTS = Span(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), ".0%")


def six_digits(value: float) -> float:
    """Round to six significant digits: more would be invisible and cost bytes."""
    return float(f"{value:.6g}")


def _finite(values: Iterable[float | None]) -> list[float]:
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def _linear_ticks(low: float, high: float, most: int) -> tuple[tuple[float, ...], float]:
    """Return at most ``most`` multiples of the smallest suitable round step, and the step."""
    exponent = math.floor(math.log10(high / most - low / most))
    for power in range(exponent, exponent + 3):
        for mantissa in (1, 2, 5):
            step = _round_number(mantissa, power)
            numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
            ticks = [_round_number(number * mantissa, power) for number in numbers]
            # After rounding, the outermost ticks can lie beyond the ends.
            inside = tuple(tick for tick in ticks if low <= tick <= high)
            if 0 < len(inside) <= most:
                return inside, step
    return (six_digits(low / 2 + high / 2),), high / 2 - low / 2


def _log_ticks(low: float, high: float, most: int) -> tuple[tuple[float, ...], str]:
    """Return round numbers on a logarithmic axis, and their label format."""
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
    # The range is within a factor of two: use the ticks of a linear axis.
    found, step = _linear_ticks(low, high, most)
    return found, _form(found, step)


def _form(ticks: tuple[float, ...], step: float) -> str:
    """Return a format that distinguishes the ticks, without exponents at common magnitudes."""
    largest = max(map(abs, ticks))
    if largest == 0:
        return "~g"
    last = math.floor(math.log10(step) + 1e-9)
    if largest < _PLAIN_MOST and step >= _PLAIN_LEAST:
        return f",.{max(0, -last)}f"
    digits = math.floor(math.log10(largest)) - last + 1
    return f".{min(max(digits, 1), 6)}~g"


def _round_number(mantissa: int, power: int) -> float:
    """Return ``mantissa · 10**power``, rounded once."""
    return float(f"{mantissa}e{power}")
