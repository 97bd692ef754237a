"""What a claim is, how its verdict falls, and how its numbers read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.statistics.intervals.bootstrap import LEVEL
from orchestrator.statistics.intervals.estimate import BoolArray, Estimate
from orchestrator.statistics.study_design import Scope

Verdict = Literal["holds", "fails", "unclear"]
Side = Literal["below", "above", "between", "outside"]

ONE_SIDED = (1 - LEVEL) / 2
"""How small a one-sided p must be for a verdict: where a 95 % interval lies on one side."""

_CHECKS = {"holds": "check passed", "fails": "check failed", "unclear": "check unclear"}


@dataclass(frozen=True)
class Beside:
    """An estimate that a reviewer would ask for beside a claim's own.

    Attributes:
        what: What is different about it, ``with training loss and batch size held fixed``.
        estimate: The number.
        holding: Whether its value lies where the claim would hold; None if there is no value.
    """

    what: str
    estimate: Estimate
    holding: bool | None

    @property
    def sentence(self) -> str:
        """The number in words."""
        what = self.what[:1].upper() + self.what[1:]
        if self.estimate.value is None:
            return f"{what} there is no estimate: {self.estimate.reason}."
        return f"{what} it is {with_interval(self.estimate)}."


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
        side: Where the number has to lie for the claim to hold.
        upper: The other end, for ``between`` and ``outside``.
        scope: What the verdict speaks of.
        p_value: Two-sided, of the truth lying just where the verdict changes: one minus the level
            at which it would no longer be given. None where there is no interval.
        without: The least and the largest value without any one condition.
        beside: Further estimates that the verdict has to live with.
        check: Whether it only checks what theory says, and so is no finding.
    """

    name: str
    statement: str
    statistic: str
    estimate: Estimate
    threshold: float
    verdict: Verdict
    explanation: str
    side: Side = "above"
    upper: float | None = None
    scope: Scope = "in this grid"
    p_value: float | None = None
    without: tuple[float, float] | None = None
    beside: tuple[Beside, ...] = ()
    check: bool = False

    @property
    def criterion(self) -> str:
        """Where the interval has to lie for the claim to hold, ``below −0.8``."""
        low = as_given(self.threshold)
        if self.upper is None:
            return f"{self.side} {low}"
        word = "and" if self.side == "between" else "to"
        return f"{self.side} {low} {word} {as_given(self.upper)}"

    @property
    def against(self) -> tuple[Beside, ...]:
        """What a claim that holds does not survive."""
        if self.verdict != "holds":
            return ()
        return tuple(one for one in self.beside if one.holding is False)

    @property
    def reads(self) -> str:
        """The verdict with what it speaks of, ``holds in this grid, as stated only``."""
        if self.check:
            return _CHECKS[self.verdict]
        as_stated = ", as stated only" if self.against else ""
        return f"{self.verdict} {self.scope}{as_stated}"


def judge(p_for: float, p_against: float) -> tuple[Verdict, float]:
    """Verdict and two-sided p-value, from the one-sided p-values of both.

    Args:
        p_for: Small if the claim surely holds: of a claim with parts the largest of theirs.
        p_against: Small if it surely does not.
    """
    p_value = min(1.0, 2 * min(p_for, p_against))
    if p_for <= ONE_SIDED:
        return "holds", p_value
    return ("fails" if p_against <= ONE_SIDED else "unclear"), p_value


def any_of(p_values: Iterable[float]) -> float:
    """One-sided p of several statements of which one suffices (Bonferroni)."""
    known = list(p_values)
    return min(1.0, len(known) * min(known, default=1.0))


def lies(value: float | None, threshold: float, side: Side, upper: float | None = None) -> bool:
    """Whether a number lies where a claim holds; one that is not known does not."""
    if value is None:
        return False
    if side == "below":
        return value < threshold
    if side == "above" or upper is None:
        return value > threshold
    return (threshold < value < upper) == (side == "between")


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


def joined(sentences: Iterable[str]) -> str:
    """Sentences as a paragraph, without empty ones."""
    return " ".join(sentence for sentence in sentences if sentence)


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
