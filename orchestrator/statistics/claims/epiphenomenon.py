"""The claim that flatness is an epiphenomenon of the way of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from orchestrator.statistics.association.moments import row_moments
from orchestrator.statistics.association.order import ordered_codes
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
from orchestrator.statistics.claims.tracking import TRAIN_ERROR_THRESHOLD
from orchestrator.statistics.grid.intervention_effects import (
    InterventionEffect,
    InterventionEffects,
    intervention_effects,
)
from orchestrator.statistics.intervals.bootstrap import LEVEL, Groups
from orchestrator.statistics.intervals.estimate import (
    BoolArray,
    Estimate,
    FloatArray,
    IntArray,
    all_finite,
    positive_log10,
)
from orchestrator.statistics.intervals.inference import infer
from orchestrator.statistics.intervals.jackknife import Statistic
from orchestrator.statistics.intervals.over_conditions import row_shares
from orchestrator.statistics.intervals.ratio import Ratio, infer_ratio
from orchestrator.statistics.study_design import Design

SURVIVING_SLOPE = 0.5
"""A slope from half to twice the usual one counts as surviving."""


def flatness_is_an_epiphenomenon(
    hessian_trace: FloatArray,
    margin: FloatArray,
    train_error: FloatArray,
    intervention: Sequence[str],
    reference: str,
    groups: Groups,
    threshold: float = SURVIVING_SLOPE,
    design: Design | None = None,
    learned: BoolArray | None = None,
) -> Claim:
    """Compare the slope of log₁₀ trace on margin in each way of training with the usual slope.

    If flatness tracks the margin only because of the way of training and its loss, the relation
    breaks under another loss, sharpness-aware steps, label smoothing or weight decay. Each way of
    training has its own line (analysis of covariance). Given a significantly negative usual slope,
    the claim holds if some way's slope is significantly outside 1/2 to 2 times the usual one, sign
    included. It fails if every way's slope is significantly inside. Without a relation in the
    usual training, nothing can be lost and no verdict is given. Only snapshots with a training
    error of at most 0.1 count.

    Args:
        hessian_trace: Shape (n,), one value per snapshot.
        margin: Shape (n,), mean training margin.
        train_error: Shape (n,), in [0, 1].
        intervention: Shape (n,), the way of training of each snapshot's network.
        reference: The usual way of training.
        groups: The trial and condition of each snapshot.
        threshold: Share of the usual slope that counts as surviving, between 0 and 1; so do
            slopes up to its reciprocal.
        design: How conditions were chosen; conditions that differ only in the way of training
            are left out together.
        learned: Shape (n,), whether the network of each snapshot learned; by default all did.
    """
    design = Design() if design is None else design
    small = train_error <= TRAIN_ERROR_THRESHOLD
    log_trace = positive_log10(hessian_trace)
    used = small & all_finite(log_trace, margin)
    labels = np.array(intervention, dtype=object)
    inner = groups.select(used)
    present = [name for name in dict.fromkeys(labels[used].tolist()) if name != reference]
    usual_present = bool(np.any(labels[used] == reference))
    codes = ordered_codes(labels.tolist())[1]

    def ratios(rows: BoolArray) -> dict[str, Ratio]:
        chosen, unit = groups.select(rows), _units(codes[rows], groups.select(rows), design)
        usual = _slope(margin[rows], log_trace[rows], labels[rows] == reference, chosen)
        return {
            name: infer_ratio(
                _slope(margin[rows], log_trace[rows], labels[rows] == name, chosen),
                usual,
                chosen,
                design,
                rows=int(rows.sum()),
                excluded=int(np.sum(small & ~rows)),
                undefined=f"margins do not vary within {name} or {reference}",
                zero=f"with {reference} the slope is not significantly different from 0",
                unit=unit,
            )
            for name in present
        }

    bounds = threshold, 1 / threshold if threshold > 0 else np.inf
    valid = 0 < threshold < 1
    found = ratios(used) if usual_present and valid else {}
    if not found:
        return _nothing(used, groups, valid, usual_present, bounds)
    unit = _units(codes[used], inner, design)
    usual = infer(
        _slope(margin[used], log_trace[used], labels[used] == reference, inner),
        inner,
        design,
        unit=unit,
    )
    premise = usual.p_below(0.0)
    p_for = max(
        premise,
        any_of(p for r in found.values() for p in (r.p_below(bounds[0]), r.p_above(bounds[1]))),
    )
    p_against = max(
        premise, *(max(r.p_above(bounds[0]), r.p_below(bounds[1])) for r in found.values())
    )
    verdict, p_value = judge(p_for, p_against)
    shown_name, shown = min(found.items(), key=lambda item: _surviving(item[1], bounds))
    beside = stand_beside(
        lambda rows, _: ratios(rows)[shown_name].inference.estimate,
        used,
        lambda value: lies(value, bounds[0], "outside", bounds[1]),
        groups,
        design,
        learned=learned,
    )
    effects = intervention_effects(
        log_trace[used], margin[used], labels[used].tolist(), reference, inner
    )
    result = shown.inference
    sentences = [
        f"{counted(result.estimate.n, 'snapshot')} of {counted(inner.trials, 'trial')} have a "
        f"training error of at most {TRAIN_ERROR_THRESHOLD:g}. With {reference}, log10 trace "
        f"changes by {with_interval(usual.estimate, 2)} per unit of margin, and r is "
        f"{with_interval(effects.reference, 2)}.",
        ""
        if premise <= ONE_SIDED
        else "That slope is not significantly negative, so the study shows no relation to lose.",
        "In multiples of that slope: "
        + "; ".join(
            f"with {name} {with_interval(r.inference.estimate, 2)}" for name, r in found.items()
        )
        + ".",
        f"Slopes from {bounds[0]:g} to {bounds[1]:g} times it count as surviving; the number shown "
        f"is for {shown_name}.",
        _capital("; ".join(_told(one) for one in effects.effects)) + ".",
        _shares(effects),
        left_out(
            ("trace not positive", small & np.isfinite(hessian_trace) & (hessian_trace <= 0)),
            ("trace missing or not finite", small & ~np.isfinite(hessian_trace)),
            ("margin missing or not finite", small & ~np.isfinite(margin)),
        ),
        *(one.sentence for one in beside),
        *reach_sentences(result, 2),
    ]
    return _claim(
        result.estimate,
        bounds,
        joined(sentences),
        verdict=verdict,
        scope=result.scope,
        p_value=p_value if result.spread is not None else None,
        without=result.without,
        beside=beside,
        parts="The slope in the usual training, expected below 0, is "
        f"{with_interval(usual.estimate, 2)}",
    )


def _claim(estimate: Estimate, bounds: tuple[float, float], explanation: str, **more: Any) -> Claim:
    verdict = more.pop("verdict", "unclear")
    return Claim(
        "flatness_is_an_epiphenomenon",
        "Flatness is an epiphenomenon of the way of training: under another loss, optimizer or "
        "regularization it no longer follows the margin as before",
        "Slope of log10 Hessian trace on mean margin, in the way of training that differs most, "
        "over the slope in the usual training",
        estimate,
        bounds[0],
        verdict,
        explanation,
        side="outside",
        upper=bounds[1],
        **more,
    )


def _nothing(
    used: BoolArray, groups: Groups, valid: bool, usual: bool, bounds: tuple[float, float]
) -> Claim:
    rows = int(used.sum())
    if not valid:
        reason = f"the threshold must lie between 0 and 1, got {bounds[0]:g}"
    elif not rows:
        reason = f"no snapshot with a training error of at most {TRAIN_ERROR_THRESHOLD:g}"
    elif not usual:
        reason = "no network was trained in the usual way"
    else:
        reason = "only one way of training is present"
    trials = len(np.unique(groups.trial[used]))
    estimate = Estimate(None, None, None, LEVEL, rows, trials, int(np.sum(~used)), reason)
    return _claim(estimate, bounds, f"No verdict: {reason}.")


def _units(codes: IntArray, groups: Groups, design: Design) -> IntArray:
    """Return each trial's setting apart from its way of training: shape (trials,)."""
    way = np.full(int(groups.condition.max(initial=-1)) + 1, -1, dtype=np.int64)
    way[groups.condition[groups.trial]] = codes
    if not design.axes:
        return groups.condition
    padded = np.full(len(design.axes[0].level), -1, dtype=np.int64)
    padded[: len(way)] = way
    return design.settings(padded, np.unique(groups.condition))[groups.condition]


def _slope(x: FloatArray, y: FloatArray, rows: BoolArray, groups: Groups) -> Statistic:
    """Return the least-squares slope of y on x over some of the rows."""
    centre = np.array([x[rows].mean(), y[rows].mean()]) if rows.any() else np.zeros(2)
    table = np.stack([x - centre[0], y - centre[1]])
    shares = np.where(rows, row_shares(groups), 0)
    sums = groups.sums(row_moments(table) * shares[:, None, None])
    spread = float(np.var(x[rows])) if rows.any() else 0.0

    def values(weights: FloatArray) -> FloatArray:
        total = np.tensordot(weights, sums, axes=1)
        count = total[:, 0, 0]
        safe = np.where(count > 0, count, 1)
        mean = total[:, 0, 1:] / safe[:, None]
        variance = total[:, 1, 1] / safe - mean[:, 0] ** 2
        product = total[:, 1, 2] / safe - mean[:, 0] * mean[:, 1]
        known = (count > 0) & (variance > 1e-12 * spread) & (spread > 0)
        return np.where(known, product / np.where(known, variance, 1), np.nan)

    return values


def _surviving(ratio: Ratio, bounds: tuple[float, float]) -> float:
    """Return a sort key, smallest for the slope most significantly outside the bounds."""
    if ratio.inference.estimate.value is None:
        return np.inf
    return min(ratio.p_below(bounds[0]), ratio.p_above(bounds[1]))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _told(one: InterventionEffect) -> str:
    moved = {"x only": " (only the trace moves)", "y only": " (only the margin moves)"}
    return (
        f"with {one.name}, r is {with_interval(one.correlation, 2)}, and the log trace shifts by "
        f"{with_interval(one.x_shift, 1)} and the margin by {with_interval(one.y_shift, 1)} "
        f"standard deviations{moved.get(one.moves, '')}"
    )


def _shares(found: InterventionEffects) -> str:
    return (
        "The share of variance that ways of training explain beyond seeds is "
        f"{with_interval(found.x_share, 2)} for the log trace and "
        f"{with_interval(found.y_share, 2)} for the margin."
    )
