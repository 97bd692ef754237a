"""A check that flatness belongs to the parametrization, and the margin to the function.

It is a theorem that rescaling layers changes the trace but no margin; the size of the change
depends on the factor chosen. The result is therefore not a finding of a study, but shows that the
measures work as they should.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from orchestrator.statistics.claim import Claim, counted, decide, joined, left_out, percent
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray
from orchestrator.statistics.intervals.median import median

CHANGE_THRESHOLD = 0.1
UNCHANGED = 1e-3
"""Largest relative change of a margin that still counts as rounding; a generous bound."""


def flatness_depends_on_parametrization(
    trace_change: FloatArray,
    margin_change: FloatArray,
    groups: Groups,
    others: Mapping[str, float],
    threshold: float = CHANGE_THRESHOLD,
) -> Claim:
    """Judge the median relative change of the Hessian trace and margin under reparametrization.

    Layers of a rectifier network are rescaled by α and 1/α, which leaves the function unchanged
    (Dinh et al., arXiv:1703.04933). The claim holds if the trace changes by more than a tenth
    while no margin changes beyond rounding, under rescaling or under permuted hidden units.

    Args:
        trace_change: Shape (n,), one audited network per row: |after − before| of the trace over
            the larger of the two; NaN if the change or a value is missing.
        margin_change: Shape (n,), the same for the mean margin.
        groups: The trial and condition of each network.
        others: Name → median relative change of further measures, for the explanation.
        threshold: Value that the change of the trace must exceed.
    """
    compared = np.isfinite(trace_change) & np.isfinite(margin_change)
    estimate = median(np.where(compared, trace_change, np.nan), groups)
    if estimate.low is not None and estimate.high is not None:
        # A change relative to the larger of two values of one sign lies in [0, 1].
        ends = max(0.0, estimate.low), min(max(1.0, estimate.value or 0.0), estimate.high)
        estimate = replace(estimate, low=ends[0], high=ends[1])
    moved = int(np.sum(margin_change[compared] > UNCHANGED))
    verdict = decide(estimate, threshold, below=False)
    if moved and verdict == "holds":
        verdict = "fails"
    sentences = []
    if estimate.n:
        largest = float(np.max(margin_change[compared]))
        sentences.append(
            f"On {counted(estimate.n, 'audited network')} the mean margin changed by at most "
            f"{_change(largest)} when layers were rescaled or hidden units permuted"
            + (f", on {moved} by more than rounding." if moved else ".")
        )
    sentences.append(
        left_out(("networks without a layer to rescale, or without a value", ~compared))
    )
    if others:
        told = "; ".join(f"{name}: {_change(change)}" for name, change in others.items())
        sentences.append(f"For further measures the median changes are {told}.")
    if not len(trace_change):
        sentences = ["No network has been audited yet; run the command audit."]
    elif not estimate.has_interval:
        sentences.append(f"No verdict: {estimate.reason}.")
    return Claim(
        "flatness_depends_on_parametrization",
        "Flatness changes under a reparametrization that leaves the function unchanged; "
        "margins do not",
        "Median relative change of the Hessian trace when layers are rescaled",
        estimate,
        threshold,
        verdict,
        joined(sentences),
        check=True,
        parts="A margin changed, too",
    )


def _change(share: float) -> str:
    return "0 %" if share <= UNCHANGED else percent(share)
