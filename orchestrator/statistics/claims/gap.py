"""The claim that the margin ranks networks by their gap at least as well as flatness does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.association.confounders import residuals
from orchestrator.statistics.beside import reach_sentences, stand_beside
from orchestrator.statistics.claim import (
    ONE_SIDED,
    Claim,
    any_of,
    counted,
    joined,
    judge,
    left_out,
    lies,
    with_interval,
)
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import BoolArray, Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.inference import Inference, infer
from orchestrator.statistics.intervals.over_conditions import tau
from orchestrator.statistics.study_design import Design

NON_INFERIORITY = -0.1
"""How much weaker the margin's τ may be, and still count as at least as good."""

_FEWEST_NETWORKS = 4


@dataclass(frozen=True)
class _Compared:
    """Both measures against one gap."""

    margin: Inference
    trace: Inference
    advantage: Inference

    def p_for(self, threshold: float) -> float:
        return max(
            self.advantage.p_above(threshold), self.margin.p_below(0.0), self.trace.p_above(0.0)
        )

    def p_against(self, threshold: float) -> tuple[float, float]:
        return self.advantage.p_below(threshold), self.margin.p_above(0.0)


def margin_predicts_gap_at_least_as_well(
    margin: FloatArray,
    hessian_trace: FloatArray,
    gaps: Mapping[str, FloatArray],
    groups: Groups,
    threshold: float = NON_INFERIORITY,
    design: Design | None = None,
    train_loss: FloatArray | None = None,
    learned: BoolArray | None = None,
) -> Claim:
    """Compare signed τ between margin and gap with τ between trace and gap, for every gap.

    Larger margins and flatter minima should go with smaller gaps: τ of the margin below 0, τ of
    the trace above. D is −τ(margin, gap) − τ(trace, gap), over pairs of networks from different
    conditions. The claim holds if, for every gap, D is significantly above the threshold and both
    signs are significantly as expected. It fails if, for some gap, D is significantly below the
    threshold or larger margins significantly go with larger gaps. Any one of these is enough to
    fail, so their p-values are multiplied by their number. The number shown is the smallest D
    over the gaps.

    Args:
        margin: Shape (n,), mean training margin, one trained network per row.
        hessian_trace: Shape (n,).
        gaps: Name → shape (n,), the loss gap and the error gap.
        groups: The trial and condition of each network.
        threshold: The smallest D that counts as at least as well.
        design: How conditions were chosen; unknown by default.
        train_loss: Shape (n,); held fixed in a further estimate, with the swept hyperparameters.
        learned: Shape (n,), whether each network learned; by default all did.
    """
    design = Design() if design is None else design
    kept = {name: all_finite(margin, hessian_trace, gap) for name, gap in gaps.items()}

    def compared(name: str, rows: BoolArray, given: FloatArray | None = None) -> _Compared:
        columns = np.stack([margin[rows], hessian_trace[rows], gaps[name][rows]])
        if given is not None:
            columns = residuals(columns, given)
        return _compare(columns, groups.select(rows), design, int(np.sum(~kept[name])))

    def worst(rows: BoolArray | None, given: FloatArray | None) -> Estimate:
        every = [
            compared(name, kept[name] if rows is None else kept[name] & rows, given)
            for name in gaps
        ]
        return _smallest(every).advantage.estimate

    found = {name: compared(name, kept[name]) for name in gaps}
    shown = _smallest(list(found.values())).advantage
    used = np.logical_and.reduce([*kept.values()])
    beside = stand_beside(
        worst,
        used,
        lambda value: lies(value, threshold, "above"),
        groups,
        design,
        train_loss,
        learned,
    )
    p_for = max(one.p_for(threshold) for one in found.values())
    p_against = any_of(p for one in found.values() for p in one.p_against(threshold))
    verdict, p_value = judge(p_for, p_against)
    sentences = [
        f"Over {counted(shown.estimate.n, 'trained network')}: "
        + "; ".join(
            f"with the {name} τ is {with_interval(one.margin.estimate, 2)} for the margin and "
            f"{with_interval(one.trace.estimate, 2)} for the trace, difference "
            f"{with_interval(one.advantage.estimate, 2)}"
            for name, one in found.items()
        )
        + ".",
        left_out(("networks without a finite margin, trace or gap", shown.estimate.n_excluded)),
        f"At least as well means weaker by at most {abs(threshold):g} and with the expected signs: "
        "larger margins and smaller traces go with smaller gaps.",
        _against_expectation(found),
        *(one.sentence for one in beside),
        *reach_sentences(shown, 2),
    ]
    return Claim(
        "margin_predicts_gap_at_least_as_well",
        "The margin ranks trained networks by their generalization gap at least as well as the "
        "Hessian trace does: the larger the margin, the smaller the gap",
        "−τ(margin, gap) − τ(Hessian trace, gap) with Kendall’s τ_b, over pairs of networks from "
        "different conditions, for the gap with the smallest value",
        shown.estimate,
        threshold,
        verdict,
        joined(sentences),
        scope=shown.scope,
        p_value=p_value if shown.spread is not None else None,
        without=shown.without,
        beside=beside,
        parts=_signs(found),
    )


def _signs(found: Mapping[str, _Compared]) -> str:
    """Return the sign that the claim needs and that is least supported, with its τ."""
    signs = [
        (inference.p_below(0.0) if below else inference.p_above(0.0), name, what, inference)
        for name, one in found.items()
        for what, inference, below in (("margins", one.margin, True), ("traces", one.trace, False))
    ]
    _, name, what, inference = max(signs, key=lambda sign: sign[0])
    expected = "below" if what == "margins" else "above"
    told = with_interval(inference.estimate, 2)
    return f"τ of {what} and the {name}, expected {expected} 0, is {told}"


def _compare(columns: FloatArray, groups: Groups, design: Design, excluded: int) -> _Compared:
    n = columns.shape[1]
    undefined = (
        f"{n} networks; a comparison needs at least {_FEWEST_NETWORKS}"
        if n < _FEWEST_NETWORKS
        else "a column is constant"
    )
    of_margin, of_trace = (tau(one, columns[2], groups) for one in columns[:2])
    few = n < _FEWEST_NETWORKS

    def inferred(sign_margin: float, sign_trace: float) -> Inference:
        def statistic(weights: FloatArray) -> FloatArray:
            if few:
                return np.full(len(weights), np.nan)
            total = np.zeros(len(weights))
            for sign, one in ((sign_margin, of_margin), (sign_trace, of_trace)):
                if sign:
                    total += sign * one(weights)
            return total

        both = abs(sign_margin) + abs(sign_trace)
        return infer(
            statistic,
            groups,
            design,
            rows=n,
            excluded=excluded,
            limits=(-both, both),
            undefined=undefined,
        )

    return _Compared(inferred(1, 0), inferred(0, 1), inferred(-1, -1))


def _smallest(compared: list[_Compared]) -> _Compared:
    known = [one for one in compared if one.advantage.estimate.value is not None]
    return min(known or compared, key=lambda one: one.advantage.estimate.value or 0.0)


def _against_expectation(compared: Mapping[str, _Compared]) -> str:
    """Return a sentence that names every τ with a significantly wrong sign, or ""."""
    wrong = [
        f"the {measure} with the {name}"
        for name, one in compared.items()
        for measure, p in (("margin", one.margin.p_above(0.0)), ("trace", one.trace.p_below(0.0)))
        if p <= ONE_SIDED
    ]
    return f"Significantly of the wrong sign: {', '.join(wrong)}." if wrong else ""
