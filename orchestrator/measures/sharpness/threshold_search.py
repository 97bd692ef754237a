"""The largest size of a perturbation that a network withstands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Literal

_MOST_HALVINGS = 40


@dataclass(frozen=True)
class Threshold:
    """The largest size that a network withstands.

    Attributes:
        value: The size, within half the tolerance; the bound of the search if censored.
        censored: ``above`` if the largest size tried is withstood, so the threshold is at least
            that large; ``below`` if not even the smallest one is withstood.
    """

    value: float
    censored: Literal["above", "below"] | None


def largest_withstood(
    breaks: Callable[[float], bool], *, largest: float, tolerance: float
) -> Threshold:
    """Find the largest size that does not break, searching from above.

    Sizes are halved from ``largest`` down to the first that is withstood, at most 40 times. The
    interval between that size and the one before is then bisected on the logarithmic scale. If
    ``breaks`` is not monotone, the result is a threshold above which each halving tried broke.

    Args:
        breaks: Whether a size is too large.
        largest: Upper bound of the search.
        tolerance: Stop when the ends of the interval differ by this, relative to the lower one.

    Returns:
        The geometric mean of the last interval's ends; or the bound, marked as censored.
    """
    if not breaks(largest):
        return Threshold(largest, "above")
    low = high = largest
    for _ in range(_MOST_HALVINGS):
        high, low = low, low / 2
        if not breaks(low):
            break
    else:
        return Threshold(low, "below")
    while high > low * (1 + tolerance):
        middle = sqrt(low * high)
        if breaks(middle):
            high = middle
        else:
            low = middle
    return Threshold(sqrt(low * high), None)


def censored_reason(threshold: Threshold, name: str, accuracy_drop: float) -> str | None:
    """Return why a threshold of accuracy is only a bound; None if it was found.

    Args:
        threshold: Result of the search.
        name: Symbol of the size.
        accuracy_drop: The drop of the accuracy that is still allowed.
    """
    if threshold.censored is None:
        return None
    largest = threshold.censored == "above"
    return (
        f"censored: at {name} = {threshold.value:g}, the {'largest' if largest else 'smallest'} "
        f"tried, the accuracy falls by {'at most' if largest else 'more than'} {accuracy_drop:g}"
    )
