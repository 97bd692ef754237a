"""The largest size of a perturbation that a network withstands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Literal

_MOST_HALVINGS = 40


@dataclass(frozen=True)
class Threshold:
    """Where a network stops to withstand.

    Attributes:
        value: The size, within half the tolerance; the bound of the search if censored.
        censored: ``above``: the largest size tried is withstood, so that the threshold is no
            smaller; ``below``: not even the smallest one is.
    """

    value: float
    censored: Literal["above", "below"] | None


def largest_withstood(
    breaks: Callable[[float], bool], *, largest: float, tolerance: float
) -> Threshold:
    """Find the largest size that does not break, from above.

    Sizes are halved from ``largest`` down to the first that is withstood, 40 times at most;
    between it and the one before the threshold is bisected on the logarithmic scale. Where
    ``breaks`` is not monotone it is a threshold above which sizes broke at each halving tried.

    Args:
        breaks: Whether a size is too much.
        largest: Upper bound of the search.
        tolerance: Stop at an interval whose ends differ by this, relative to the lower one.

    Returns:
        The geometric mean of the last interval's ends, or the bound and that it is censored.
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
    """Why a threshold of accuracy is a bound only; None where it was found.

    Args:
        threshold: What was found.
        name: Symbol of the size.
        accuracy_drop: The fall of the accuracy that is too much.
    """
    if threshold.censored is None:
        return None
    largest = threshold.censored == "above"
    return (
        f"censored: at {name} = {threshold.value:g}, the {'largest' if largest else 'smallest'} "
        f"tried, the accuracy falls by {'at most' if largest else 'more than'} {accuracy_drop:g}"
    )
