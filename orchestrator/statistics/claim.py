"""Claims: data structure, verdict rule and number formatting."""

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
"""Largest one-sided p-value for a verdict: the 95 % interval then lies on one side."""

_CHECKS = {"holds": "check passed", "fails": "check failed", "unclear": "check unclear"}


@dataclass(frozen=True)
class Beside:
    """An estimate that a reviewer would request beside a claim's own.

    Attributes:
        what: The difference, such as ``with training loss and batch size held fixed``.
        estimate: The number.
        holding: Whether its value lies where the claim would hold; None without a value.
        brief: A shorter form of ``what``, for headlines; "" if there is none.
        fixed: What is held fixed; empty if the estimate differs in something else.
    """

    what: str
    estimate: Estimate
    holding: bool | None
    brief: str = ""
    fixed: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The estimate as a sentence."""
        what = self.what[:1].upper() + self.what[1:]
        if self.estimate.value is None:
            return f"{what}, no estimate is possible: {self.estimate.reason}."
        return f"{what}, the estimate is {with_interval(self.estimate)}."


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict in one study.

    Attributes:
        name: Name in the study file.
        statement: The claim as one sentence without a full stop.
        statistic: Description of the number.
        estimate: The number, its interval and the rows behind it.
        threshold: Value that the interval is compared with.
        verdict: ``holds``, ``fails`` or ``unclear``.
        explanation: Reasons and caveats, in whole sentences.
        side: Side of the threshold on which the claim holds.
        upper: The other bound, for ``between`` and ``outside``.
        scope: Conditions that the verdict covers.
        p_value: Two-sided p-value of the truth lying exactly at the boundary of the verdict: one
            minus the confidence level at which the verdict is lost. None without an interval.
        without: The smallest and the largest value with any one condition left out.
        beside: Further estimates, which may qualify the verdict.
        check: Whether the claim only checks a theorem, and so is not a finding.
        parts: For a claim of several parts, the others than this number, as a sentence without a
            full stop.
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
    parts: str = ""

    @property
    def decided_by(self) -> str:
        """What decided the verdict if the interval alone would give another one, else ""."""
        low, high = self.estimate.low, self.estimate.high
        sides = {lies(end, self.threshold, self.side, self.upper) for end in (low, high)}
        if low is None or high is None or self._crossed(low, high):
            sides = {True, False}
        alone = "unclear" if len(sides) > 1 else ("holds" if True in sides else "fails")
        return "" if alone == self.verdict else self.parts

    def _crossed(self, low: float, high: float) -> bool:
        """Whether a bound lies inside the interval."""
        return any(
            bound is not None and low < bound < high for bound in (self.threshold, self.upper)
        )

    @property
    def criterion(self) -> str:
        """The range in which the interval must lie for the claim to hold, ``below −0.8``."""
        low = as_given(self.threshold)
        if self.upper is None:
            return f"{self.side} {low}"
        word = "and" if self.side == "between" else "to"
        return f"{self.side} {low} {word} {as_given(self.upper)}"

    @property
    def against(self) -> tuple[Beside, ...]:
        """Further estimates that contradict a claim that holds; empty for other verdicts."""
        if self.verdict != "holds":
            return ()
        return tuple(one for one in self.beside if one.holding is False)

    @property
    def reads(self) -> str:
        """The verdict with its scope, ``holds in this grid, as stated only``."""
        if self.check:
            return _CHECKS[self.verdict]
        as_stated = ", as stated only" if self.against else ""
        return f"{self.verdict} {self.scope}{as_stated}"


def judge(p_for: float, p_against: float) -> tuple[Verdict, float]:
    """Return the verdict and two-sided p-value, from one-sided p-values for and against.

    Args:
        p_for: Small if the claim clearly holds; for a claim with several parts, their largest.
        p_against: Small if the claim clearly does not hold.
    """
    p_value = min(1.0, 2 * min(p_for, p_against))
    if p_for <= ONE_SIDED:
        return "holds", p_value
    return ("fails" if p_against <= ONE_SIDED else "unclear"), p_value


def any_of(p_values: Iterable[float]) -> float:
    """Combine one-sided p-values of statements of which one suffices (Bonferroni)."""
    known = list(p_values)
    return min(1.0, len(known) * min(known, default=1.0))


def lies(value: float | None, threshold: float, side: Side, upper: float | None = None) -> bool:
    """Return whether a number lies where a claim holds; False for an unknown number."""
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
        estimate: The number and its interval; without an interval the verdict is ``unclear``.
        threshold: The value to compare with.
        below: Whether the claim places the number below the threshold, rather than above.
    """
    if estimate.low is None or estimate.high is None:
        return "unclear"
    if estimate.high <= threshold:
        return "holds" if below else "fails"
    if estimate.low >= threshold:
        return "fails" if below else "holds"
    return "unclear"


def joined(sentences: Iterable[str]) -> str:
    """Join the nonempty sentences into a paragraph."""
    return " ".join(sentence for sentence in sentences if sentence)


def with_interval(estimate: Estimate, digits: int = 3) -> str:
    """Format the value with its interval, "−0.942 [−0.961, −0.915]"."""
    if estimate.value is None:
        return f"unknown ({estimate.reason})"
    text = number(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return f"{text} (no interval)"
    return f"{text} [{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def left_out(*reasons: tuple[str, BoolArray | int]) -> str:
    """Return a sentence that counts the excluded rows by reason, or "" if none were excluded.

    Args:
        *reasons: Name of each reason, and the rows (or number of rows) it applies to.
    """
    counts = [(name, int(np.sum(rows))) for name, rows in reasons]
    named = [f"{count} {name}" for name, count in counts if count]
    return f"Left out: {', '.join(named)}." if named else ""


def counted(count: int, noun: str) -> str:
    """Format a count with its noun, ``1 trial``, ``1,200 trials``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def percent(share: float) -> str:
    """Format a share, ``12.3 %``."""
    return f"{100 * share:.3g} %"


def as_given(threshold: float) -> str:
    """Format a threshold as given, with a true minus sign."""
    return f"{threshold:g}".replace("-", "−")


def number(value: float, digits: int = 3) -> str:
    """Format with a true minus sign: ``digits`` decimals below 10, else 3 significant digits."""
    # Adding zero turns −0 into 0.
    text = f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 10 else f"{value:.3g}"
    return text.replace("-", "−")
