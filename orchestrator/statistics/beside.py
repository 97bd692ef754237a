"""Robustness checks reported beside a claim's own estimate, computed alike for every claim.

The estimate is repeated with the known confounders held fixed, and without networks that did not
learn. If either value lies outside the range where the claim holds, it holds as stated only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from orchestrator.statistics.association.confounders import known_confounders
from orchestrator.statistics.claim import Beside, with_interval
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import BoolArray, Estimate, FloatArray
from orchestrator.statistics.intervals.inference import Inference
from orchestrator.statistics.study_design import Design

LEARNED = "without networks that did not learn"

Estimated = Callable[[BoolArray, FloatArray | None], Estimate]
"""Maps the rows used, and columns (k, rows) to hold fixed or None, to the estimate."""


def stand_beside(
    estimated: Estimated,
    used: BoolArray,
    holds: Callable[[float | None], bool],
    groups: Groups,
    design: Design,
    train_loss: FloatArray | None = None,
    learned: BoolArray | None = None,
) -> tuple[Beside, ...]:
    """Return the estimates reported beside a claim's own.

    Args:
        estimated: Recomputes the claim's estimate.
        used: Shape (n,), the rows of the claim's own estimate.
        holds: Whether a value lies where the claim holds.
        groups: The trial and condition of each row.
        design: How conditions were chosen.
        train_loss: Shape (n,); None if holding confounders fixed makes no sense.
        learned: Shape (n,), whether the network of each row learned; None if unknown.
    """

    def beside(what: str, estimate: Estimate, **held_fixed: Any) -> Beside:
        holding = None if estimate.value is None else holds(estimate.value)
        return Beside(what, estimate, holding, **held_fixed)

    found = []
    if train_loss is not None and used.any():
        fixable = used & np.isfinite(train_loss) & (train_loss > 0)
        held = known_confounders(train_loss[fixable], groups.select(fixable), design)
        if held.names:
            estimate = estimated(fixable, held.columns)
            if held.reason:
                estimate = _without_value(estimate, held.reason)
            found.append(beside(held.what, estimate, brief=held.brief, fixed=held.names))
    if learned is not None and not learned[used].all():
        found.append(beside(LEARNED, estimated(used & learned, None)))
    return tuple(found)


def _without_value(estimate: Estimate, reason: str) -> Estimate:
    return replace(estimate, value=None, low=None, high=None, p_value=None, reason=reason)


def reach_sentences(found: Inference, digits: int = 3) -> list[str]:
    """Return sentences on the interval's scope, and any separate interval for this grid alone."""
    estimate = found.estimate
    if not estimate.has_interval:
        return [f"No verdict: {estimate.reason}."]
    sentences = [found.note]
    if found.here is not None:
        ends = with_interval(found.here, digits).partition(" ")[2]
        sentences.append(f"For this grid alone, with other seeds, the interval is {ends}.")
    return sentences
