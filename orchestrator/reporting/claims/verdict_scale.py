"""Where an estimate lies against the threshold of its claim, as positions on a bar.

Every claim has its own scale: Fisher's z for correlations, the logarithm for ratios, else linear.
The holding side is on the right, and a single threshold is in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from orchestrator.statistics import Claim

Scale = Literal["linear", "correlation", "ratio"]
_LARGEST_CORRELATION = 0.9999
_ROOM = 1.15  # Length of the bar, in multiples of the distance to the farthest number.


@dataclass(frozen=True)
class Span:
    """A stretch of the bar, in per cent of its width."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """Length in per cent."""
        return self.end - self.start


@dataclass(frozen=True)
class Bar:
    """Positions in per cent of a bar's width.

    Attributes:
        holding: Where the claim holds.
        bounds: The threshold, or both bounds.
        value: The estimate; None if unknown.
        interval: Its interval; None without one.
        beside: The estimates beside it.
    """

    holding: tuple[Span, ...]
    bounds: tuple[float, ...]
    value: float | None
    interval: Span | None
    beside: tuple[float, ...]


def bar_of(claim: Claim, scale: Scale) -> Bar | None:
    """Return the bar of a claim, or None without an estimate."""
    estimate = claim.estimate
    if estimate.value is None or not math.isfinite(estimate.value):
        return None
    bounds = [claim.threshold, *([] if claim.upper is None else [claim.upper])]
    beside = [
        one.estimate.value
        for one in claim.beside
        if one.estimate.value is not None and math.isfinite(one.estimate.value)
    ]
    ends = [end for end in (estimate.low, estimate.high) if end is not None and math.isfinite(end)]
    place = _placed(scale, [*bounds, estimate.value, *beside, *ends])
    edges = [place(bound) for bound in bounds]
    middle = (min(edges) + max(edges)) / 2
    reach = max(abs(place(one) - middle) for one in (*bounds, estimate.value, *beside, *ends))
    sign = -1.0 if claim.side == "below" else 1.0

    def position(number: float) -> float:
        share = sign * (place(number) - middle) / (_ROOM * reach) if reach > 0 else 0.0
        return round(50 + 50 * share, 2)

    at = tuple(sorted(position(bound) for bound in bounds))
    interval = None
    if len(ends) == 2:
        interval = Span(*sorted(map(position, ends)))
    return Bar(
        _holding(claim, at),
        at,
        position(estimate.value),
        interval,
        tuple(position(one) for one in beside),
    )


def _holding(claim: Claim, at: tuple[float, ...]) -> tuple[Span, ...]:
    if claim.upper is None:
        return (Span(at[0], 100.0),)
    if claim.side == "between":
        return (Span(at[0], at[-1]),)
    return (Span(0.0, at[0]), Span(at[-1], 100.0))


def _placed(scale: Scale, numbers: list[float]) -> Callable[[float], float]:
    """Return the transformation of a scale; a ratio that is not positive makes it linear."""
    if scale == "correlation" and all(abs(number) <= 1 for number in numbers):
        most = _LARGEST_CORRELATION
        return lambda number: math.atanh(min(most, max(-most, number)))
    if scale == "ratio" and min(numbers) > 0:
        return math.log
    # Halved before they are subtracted, so that no difference overflows.
    largest = max(map(abs, numbers)) or 1.0
    return lambda number: number / largest
