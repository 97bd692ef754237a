"""The claim that margins cost far less than flatness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.statistics.beside import reach_sentences, stand_beside
from orchestrator.statistics.claim import (
    Claim,
    counted,
    joined,
    judge,
    left_out,
    lies,
    with_interval,
)
from orchestrator.statistics.intervals.bootstrap import LOGARITHMIC, Groups
from orchestrator.statistics.intervals.estimate import BoolArray, FloatArray
from orchestrator.statistics.intervals.median import median_of_conditions
from orchestrator.statistics.study_design import Design

COST_RATIO_THRESHOLD = 10.0
USUAL_PROBES = 100


def margin_is_cheaper(
    trace_seconds: FloatArray,
    margin_seconds: FloatArray,
    groups: Groups,
    methods: Sequence[str],
    probe_seconds: FloatArray | None = None,
    threshold: float = COST_RATIO_THRESHOLD,
    design: Design | None = None,
    learned: BoolArray | None = None,
) -> Claim:
    """Judge the median over conditions of seconds for the Hessian trace over those for margins.

    The trace is the one used in the study, which is exact where possible: the cheapest method
    available. The ratio for a hundred Hutchinson probes, the usual method, is also reported if
    any probes were made.

    Args:
        trace_seconds: Shape (n,), seconds for the trace of snapshots with both measures.
        margin_seconds: Shape (n,), seconds for all margins of the same snapshots.
        groups: The trial and condition of each snapshot.
        methods: Shape (n,), the method of each trace: ``exact``, ``hutchinson`` …
        probe_seconds: Shape (n,), seconds per Hutchinson probe; NaN if none was made.
        threshold: Value that the ratio must exceed.
        design: How conditions were chosen; unknown by default.
        learned: Shape (n,), whether the network of each snapshot learned; by default all did.
    """
    design = Design() if design is None else design
    timed = (margin_seconds > 0) & (trace_seconds > 0)
    margin = np.where(timed, margin_seconds, np.nan)
    ratio = trace_seconds / margin
    found = median_of_conditions(ratio, groups, design, LOGARITHMIC)
    beside = stand_beside(
        lambda rows, _: (
            median_of_conditions(ratio[rows], groups.select(rows), design, LOGARITHMIC).estimate
        ),
        timed,
        lambda value: lies(value, threshold, "above"),
        groups,
        design,
        learned=learned,
    )
    verdict, p_value = judge(found.p_above(threshold), found.p_below(threshold))
    counts = {method: sum(m == method for m in methods) for method in sorted(set(methods))}
    traces = " and ".join(
        f"{_METHODS.get(m, m)} on {counted(k, 'snapshot')}" for m, k in counts.items()
    )
    sentences = [
        f"The trace was {traces}." if traces else "No snapshot has both measures.",
        left_out(("seconds missing or zero", ~timed)),
        *(one.sentence for one in beside),
    ]
    if probe_seconds is not None and np.isfinite(probe_seconds).any():
        usual = median_of_conditions(
            USUAL_PROBES * probe_seconds / margin, groups, design, LOGARITHMIC
        ).estimate
        sentences.append(
            f"For {USUAL_PROBES} Hutchinson probes instead of that trace, the ratio is "
            f"{with_interval(usual, 1)}, from {counted(usual.n, 'snapshot')}."
        )
    sentences.append(
        "Seconds cover one request for all margins and one for the trace. Work shared by several "
        "requests counts towards the first, and all measures ran alongside training."
    )
    sentences += reach_sentences(found)
    return Claim(
        "margin_is_cheaper",
        "Margins cost far less than flatness: at least "
        f"{_TIMES.get(threshold, f'{threshold:g}')} times less time than a Hessian trace",
        "Ratio of seconds per snapshot, Hessian trace over margins: median of the condition "
        "medians",
        found.estimate,
        threshold,
        verdict,
        joined(sentences),
        scope=found.scope,
        p_value=p_value if found.estimate.has_interval else None,
        without=found.without,
        beside=beside,
    )


_TIMES = {10.0: "ten"}
_METHODS = {
    "exact": "exact",
    "sampled_factors": "estimated from random factors of the loss's Hessian in the logits",
    "control_variate": "exact except for a remainder estimated by Hutchinson's method",
    "hutchinson": "estimated by Hutchinson's method",
    "hutch++": "estimated by Hutch++",
    "xtrace": "estimated by XTrace",
}
