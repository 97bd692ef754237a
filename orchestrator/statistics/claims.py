"""Claims: a statement, a statistic with its interval, a threshold, and a verdict.

A claim *holds* if the whole interval lies beyond the threshold, *fails* if the whole interval
lies on the other side, and is *unclear* otherwise. The claims are those of Lengyel, Jennings,
Parpas and Kantas, "On Flat Minima, Large Margins and Generalizability".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.statistics.bootstrap import LOGARITHMIC, Groups
from orchestrator.statistics.claim import (
    Claim,
    counted,
    decide,
    left_out,
    number,
    percent,
    with_interval,
)
from orchestrator.statistics.correlation import partial_pearson, pearson, within_pearson
from orchestrator.statistics.estimate import Estimate, FloatArray, positive_log10
from orchestrator.statistics.matched_time import (
    MatchedTime,
    Pair,
    compare_at_equal_updates,
    compare_matched_times,
)
from orchestrator.statistics.median import median
from orchestrator.statistics.partial import partial_correlation
from orchestrator.statistics.ranking import spearman

CORRELATION_THRESHOLD = -0.8
TRAIN_ERROR_THRESHOLD = 0.1
COST_RATIO_THRESHOLD = 10.0
USUAL_PROBES = 100
SHARE_THRESHOLD = 0.0
FEWEST_SNAPSHOTS = 10
FEWEST_CONDITIONS = 2


def flatness_tracks_margin(
    hessian_trace: FloatArray,
    margin: FloatArray,
    train_loss: FloatArray,
    train_error: FloatArray,
    groups: Groups,
    threshold: float = CORRELATION_THRESHOLD,
    controls: Mapping[str, FloatArray] | None = None,
) -> Claim:
    """Pearson's r between log₁₀ trace and mean margin, where training error is at most 0.1.

    Training loss is the known confounder: for a binary logistic loss tr H / (ℓ‖x‖²) tends to 1
    as margins grow. So the explanation also gives the correlation with log loss held fixed, alone
    and together with ``controls``; and Spearman's ρ, which asks for no straight line.

    Args:
        hessian_trace: Shape (n,), one value a snapshot; NaN where it was not measured.
        margin: Shape (n,), mean training margin.
        train_loss: Shape (n,).
        train_error: Shape (n,), in [0, 1].
        groups: The trial and condition of each snapshot.
        threshold: What r has to lie below.
        controls: Name → shape (n,), what else could make the two follow each other; logarithms
            are taken. One that is constant, or that a snapshot does not have, is left out.
    """
    small = train_error <= TRAIN_ERROR_THRESHOLD
    inner = groups.select(small)
    trace, log_trace = hessian_trace[small], positive_log10(hessian_trace[small])
    estimate = pearson(log_trace, margin[small], inner)
    within = within_pearson(log_trace, margin[small], inner)
    loss = positive_log10(train_loss[small])
    partial = partial_pearson(log_trace, margin[small], [loss], inner)
    logs = {name: positive_log10(column[small]) for name, column in (controls or {}).items()}
    there = {name: column for name, column in logs.items() if np.isfinite(column).all()}
    further = partial_correlation(log_trace, margin[small], {_LOSS: loss, **there}, inner)
    ranked = spearman(log_trace, margin[small], inner)
    independent = pearson(log_trace, margin[small])
    used = inner.select(np.isfinite(log_trace) & np.isfinite(margin[small]))
    sentences = [
        f"{counted(estimate.n, 'snapshot')} of {counted(used.trials, 'trial')} in "
        f"{counted(used.conditions, 'condition')} have a training error of at most "
        f"{TRAIN_ERROR_THRESHOLD:g}.",
        left_out(
            ("trace not positive", np.isfinite(trace) & (trace <= 0)),
            ("trace missing or not finite", ~np.isfinite(trace)),
            ("margin missing or not finite", ~np.isfinite(margin[small])),
        ),
        f"With the logarithm of the {_LOSS} held fixed r is {with_interval(partial)}; "
        "loss is the known confounder, because both measures follow it."
        + (
            f" With the logarithms of {_listed(further.controls)} held fixed it is "
            f"{with_interval(further.estimate)}."
            if set(further.controls) - {_LOSS}
            else ""
        ),
        f"Inside conditions, between means of trials, r is {with_interval(within)}.",
        f"Spearman’s ρ is {with_interval(ranked)}. If all snapshots were independent, which "
        f"those of one network are not, Fisher’s interval of r would be {_ends(independent)}."
        if ranked.has_interval
        else "",
    ]
    verdict = decide(estimate, threshold, below=True)
    if estimate.n < FEWEST_SNAPSHOTS or used.conditions < FEWEST_CONDITIONS:
        verdict = "unclear"
        sentences.append(
            f"A verdict needs at least {FEWEST_SNAPSHOTS} snapshots "
            f"from {FEWEST_CONDITIONS} conditions."
        )
    elif not estimate.has_interval:
        sentences.append(f"No verdict: {estimate.reason}.")
    return Claim(
        "flatness_tracks_margin",
        "Once training error is small, flat minima are large margins: "
        "the lower the Hessian trace, the larger the mean margin",
        "Pearson r between log10 Hessian trace and mean margin on the training set",
        estimate,
        threshold,
        verdict,
        _join(sentences),
        below=True,
    )


def margin_is_cheaper(
    trace_seconds: FloatArray,
    margin_seconds: FloatArray,
    groups: Groups,
    methods: Sequence[str],
    probe_seconds: FloatArray | None = None,
    threshold: float = COST_RATIO_THRESHOLD,
) -> Claim:
    """Median over snapshots of seconds for the Hessian trace over seconds for the margins.

    The trace is the one the study rests on, which is exact where it can be: the cheapest
    way there is. What the ratio is to a hundred of Hutchinson's probes, the usual way, is told
    besides, where some were made.

    Args:
        trace_seconds: Shape (n,), of snapshots on which both were measured.
        margin_seconds: Shape (n,).
        groups: The trial and condition of each snapshot.
        methods: Shape (n,), how each trace was found: ``exact``, ``hutchinson`` …
        probe_seconds: Shape (n,), seconds of one of Hutchinson's probes; NaN where none was made.
        threshold: What the ratio has to exceed.
    """
    timed = (margin_seconds > 0) & (trace_seconds > 0)
    margin = np.where(timed, margin_seconds, np.nan)
    estimate = median(trace_seconds / margin, groups, LOGARITHMIC)
    counts = {method: sum(m == method for m in methods) for method in sorted(set(methods))}
    traces = " and ".join(
        f"{_METHODS.get(m, m)} on {counted(k, 'snapshot')}" for m, k in counts.items()
    )
    sentences = [
        f"The trace was {traces}." if traces else "No snapshot has both measures.",
        left_out(("seconds missing or zero", ~timed)),
    ]
    if probe_seconds is not None and np.isfinite(probe_seconds).any():
        usual = median(USUAL_PROBES * probe_seconds / margin, groups, LOGARITHMIC)
        sentences.append(
            f"Against {USUAL_PROBES} of Hutchinson's probes the ratio is "
            f"{with_interval(usual, 1)}, from {counted(usual.n, 'snapshot')}."
        )
    sentences.append(
        "Seconds are those of one request for all margins and one for the trace; what several "
        "requests share is charged to the first, and everything ran beside training."
    )
    if not estimate.has_interval:
        sentences.append(f"No verdict: {estimate.reason}.")
    return Claim(
        "margin_is_cheaper",
        "Margins cost far less than flatness: at least "
        f"{_TIMES.get(threshold, f'{threshold:g}')} times less time than a Hessian trace",
        "Median ratio of seconds, Hessian trace over margins, per snapshot",
        estimate,
        threshold,
        decide(estimate, threshold, below=False),
        _join(sentences),
    )


_LOSS = "training loss"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _ends(estimate: Estimate) -> str:
    return with_interval(estimate).partition(" ")[2]


_TIMES = {10.0: "ten"}
_METHODS = {
    "exact": "exact",
    "sampled_factors": "estimated from random factors of the loss's Hessian in the logits",
    "control_variate": "exact but for a rest estimated by Hutchinson's method",
    "hutchinson": "estimated by Hutchinson's method",
    "hutch++": "estimated by Hutch++",
}


def large_batch_needs_time(
    margin: FloatArray,
    gaps: Mapping[str, FloatArray],
    updates: FloatArray,
    epochs: FloatArray,
    batch_size: Sequence[float],
    groups: Groups,
    threshold: float = SHARE_THRESHOLD,
) -> Claim:
    """How much more of the margins batch size explains at equal epochs than at equal updates.

    Args:
        margin: Shape (n,), mean training margin of snapshots along training.
        gaps: Name → shape (n,), for the explanation: the loss gap and the error gap.
        updates: Shape (n,), updates made before each snapshot.
        epochs: Shape (n,), epochs seen before each snapshot.
        batch_size: Shape (n,).
        groups: The trial and condition of each snapshot.
        threshold: What the difference has to exceed.
    """
    matched = compare_matched_times(margin, updates, epochs, batch_size, groups)
    estimate = matched.difference
    sentences = []
    if matched.at_epochs is not None and matched.at_updates is not None:
        sentences.append(
            f"Batch size explains {percent(matched.at_epochs)} of the variance of the mean "
            f"margin along training when networks are compared at the same epoch, and "
            f"{percent(matched.at_updates)} at the same number of updates."
        )
        sentences += [
            _gap_sentence(name, compare_matched_times(gap, updates, epochs, batch_size, groups))
            for name, gap in gaps.items()
        ]
    sentences.append(_equal_updates({"margin": margin, **gaps}, updates, batch_size, groups))
    sentences.append(_ranges(matched.pairs))
    sentences.append(
        left_out(("snapshots without a finite margin or neighbour", estimate.n_excluded))
    )
    if not estimate.has_interval:
        sentences.append(f"No verdict: {estimate.reason}.")
    return Claim(
        "large_batch_needs_time",
        "Large batches lack updates, not flat minima: at the same number of updates batch size "
        "explains less of the margin than at the same epoch",
        "Share of the variance of the mean margin that batch size explains, "
        "at matched epochs minus at matched updates",
        estimate,
        threshold,
        decide(estimate, threshold, below=False),
        _join(sentences),
    )


def _gap_sentence(name: str, matched: MatchedTime) -> str:
    if matched.at_epochs is None or matched.at_updates is None:
        return f"For the {name} there is no comparison: {matched.difference.reason}."
    return (
        f"For the {name} the shares are {percent(matched.at_epochs)} and "
        f"{percent(matched.at_updates)}, difference {with_interval(matched.difference, 2)}."
    )


def _equal_updates(
    values: Mapping[str, FloatArray],
    updates: FloatArray,
    batch_size: Sequence[float],
    groups: Groups,
) -> str:
    """Do large batches arrive where small ones are, once they had the updates?"""
    found = {
        name: compare_at_equal_updates(value, updates, batch_size, groups)
        for name, value in values.items()
    }
    parts = [
        f"the {name} by {with_interval(one.difference, 2)} from {number(one.smallest, 2)}"
        for name, one in found.items()
        if one is not None
    ]
    first = next((one for one in found.values() if one is not None), None)
    if first is None:
        return ""
    return (
        f"After {first.updates:,.0f} updates, the last that all trials of both made, batch size "
        f"{first.levels[1]:g} differs from {first.levels[0]:g} in {', '.join(parts)}."
    )


def _ranges(pairs: Sequence[Pair]) -> str:
    compared = [
        f"{_levels(pair)} over {pair.updates[0]:,.0f} to {pair.updates[1]:,.0f} updates "
        f"and {pair.epochs[0]:.3g} to {pair.epochs[1]:.3g} epochs"
        for pair in pairs
        if pair.comparable and pair.updates is not None and pair.epochs is not None
    ]
    without = [_levels(pair) for pair in pairs if not pair.comparable]
    text = f"Compared: {'; '.join(compared)}." if compared else ""
    if without:
        text += f" Without common snapshots, so not compared: {', '.join(without)}."
    return text.strip()


def _levels(pair: Pair) -> str:
    return f"{pair.levels[0]:g} and {pair.levels[1]:g}"


def _join(sentences: Sequence[str]) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
