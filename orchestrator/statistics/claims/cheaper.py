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
    """Median over conditions of seconds for the Hessian trace over seconds for the margins.

    The trace is the one the study rests on, which is exact where it can be: the cheapest
    way there is. The ratio to a hundred of Hutchinson's probes, the usual way, is reported
    besides, where some were made.

    Args:
        trace_seconds: Shape (n,), of snapshots on which both were measured.
        margin_seconds: Shape (n,).
        groups: The trial and condition of each snapshot.
        methods: Shape (n,), how each trace was found: ``exact``, ``hutchinson`` …
        probe_seconds: Shape (n,), seconds of one of Hutchinson's probes; NaN where none was made.
        threshold: What the ratio has to exceed.
        design: How conditions were chosen; by default nothing is known of them.
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
            f"Against {USUAL_PROBES} of Hutchinson's probes the ratio is "
            f"{with_interval(usual, 1)}, from {counted(usual.n, 'snapshot')}."
        )
    sentences.append(
        "Seconds are those of one request for all margins and one for the trace; what several "
        "requests share is charged to the first, and everything ran beside training."
    )
    sentences += reach_sentences(found)
    return Claim(
        "margin_is_cheaper",
        "Margins cost far less than flatness: at least "
        f"{_TIMES.get(threshold, f'{threshold:g}')} times less time than a Hessian trace",
        "Ratio of seconds, Hessian trace over margins, per snapshot: median of the medians of "
        "conditions",
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
    "control_variate": "exact but for a rest estimated by Hutchinson's method",
    "hutchinson": "estimated by Hutchinson's method",
    "hutch++": "estimated by Hutch++",
}
