"""What a claim is, how its verdict falls, and how its numbers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.statistics.estimate import BoolArray, Estimate

Verdict = Literal["holds", "fails", "unclear"]


@dataclass(frozen=True)
class Claim:
    """One claim and what the study says about it.

    Attributes:
        name: As in the study file.
        statement: What is claimed, one sentence without a full stop.
        statistic: What the number is.
        estimate: The number, its interval, and what it rests on.
        threshold: What the interval is compared with.
        verdict: ``holds``, ``fails`` or ``unclear``.
        explanation: Why, and what to keep in mind; whole sentences.
        below: Whether the claim is that the number lies below the threshold, or above.
    """

    name: str
    statement: str
    statistic: str
    estimate: Estimate
    threshold: float
    verdict: Verdict
    explanation: str
    below: bool = False

    @property
    def criterion(self) -> str:
        """Where the interval has to lie for the claim to hold, ``below −0.8``."""
        return f"{'below' if self.below else 'above'} {as_given(self.threshold)}"


def decide(estimate: Estimate, threshold: float, *, below: bool) -> Verdict:
    """Compare the whole interval with the threshold.

    Args:
        estimate: The number and its interval; without an interval nothing is decided.
        threshold: What to compare with.
        below: Whether the claim is that the number lies below the threshold, or above.
    """
    if estimate.low is None or estimate.high is None:
        return "unclear"
    if estimate.high <= threshold:
        return "holds" if below else "fails"
    if estimate.low >= threshold:
        return "fails" if below else "holds"
    return "unclear"


def with_interval(estimate: Estimate, digits: int = 3) -> str:
    """The value with its interval as text, "−0.942 [−0.961, −0.915]"."""
    if estimate.value is None:
        return f"unknown ({estimate.reason})"
    text = number(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return f"{text} (no interval)"
    return f"{text} [{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def left_out(*reasons: tuple[str, BoolArray | int]) -> str:
    """A sentence that counts and names what was left out, or "" if nothing was.

    Args:
        *reasons: Name of each reason, and which rows (or how many) it applies to.
    """
    counts = [(name, int(np.sum(rows))) for name, rows in reasons]
    named = [f"{count} {name}" for name, count in counts if count]
    return f"Left out: {', '.join(named)}." if named else ""


def counted(count: int, noun: str) -> str:
    """``1 trial``, ``1,200 trials``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def percent(share: float) -> str:
    """A share as text, ``12.3 %``."""
    return f"{100 * share:.3g} %"


def as_given(threshold: float) -> str:
    """A threshold as it was given, with a true minus sign."""
    return f"{threshold:g}".replace("-", "−")


def number(value: float, digits: int = 3) -> str:
    """Text with a true minus sign: ``digits`` decimals below 10, else 3 significant digits."""
    # Adding zero turns −0 into 0.
    text = f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 10 else f"{value:.3g}"
    return text.replace("-", "−")
