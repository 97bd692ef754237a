"""Whether flatness and margin stay together when training itself is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.statistics.bootstrap import Groups, student_interval, why_no_interval
from orchestrator.statistics.claim import (
    Claim,
    counted,
    decide,
    left_out,
    with_interval,
)
from orchestrator.statistics.claims import TRAIN_ERROR_THRESHOLD
from orchestrator.statistics.correlation import pearson, pearson_of_weights
from orchestrator.statistics.estimate import (
    BoolArray,
    Estimate,
    FloatArray,
    all_finite,
    positive_log10,
)
from orchestrator.statistics.intervention_effects import (
    InterventionEffect,
    intervention_effects,
)
from orchestrator.statistics.resampling import DEFAULT, Resampling

WEAKENING_THRESHOLD = 0.1
"""By how much |r| may fall across interventions for a correlation to have survived them."""


@dataclass(frozen=True)
class Interventions:
    """What becomes of a correlation when training is changed.

    Attributes:
        reference: Pearson's r inside the reference.
        across: Pearson's r over all interventions together.
        weakening: |r| inside the reference minus |r| across.
        effects: What each other way of training does; empty where the reference has no rows.
        x_share: Share of the variance of x between ways of training, beyond seeds; None without
            rows of the reference.
        y_share: The same of y.
    """

    reference: Estimate
    across: Estimate
    weakening: Estimate
    effects: tuple[InterventionEffect, ...]
    x_share: Estimate | None
    y_share: Estimate | None


def compare_interventions(
    x: FloatArray,
    y: FloatArray,
    intervention: Sequence[str],
    reference: str,
    groups: Groups,
    resampling: Resampling = DEFAULT,
) -> Interventions:
    """How much weaker a correlation is across interventions than inside the reference.

    If y determines x however one trains, interventions move networks along one line, and r
    across them is no weaker. If an intervention moves one measure and not the other, or undoes
    their relation, r across them falls. Both r come from the same resamples.

    Args:
        x: Shape (n,).
        y: Shape (n,). Rows that are not finite in both are left out and counted.
        intervention: Shape (n,), how the network of each row was trained.
        reference: Which of them is the usual way.
        groups: The trial and condition of each row; a condition has one intervention.
        resampling: How intervals are made.
    """
    columns = np.stack([x, y])
    kept = all_finite(columns.T)
    table, inner = columns[:, kept], groups.select(kept)
    labels = [label for label, keep in zip(intervention, kept, strict=True) if keep]
    usual = np.array([label == reference for label in labels], dtype=np.bool_)
    inside = pearson(table[0, usual], table[1, usual], inner.select(usual), resampling)
    across = pearson(table[0], table[1], inner, resampling)
    weakening = _weakening(table, usual, inner, (inside, across), resampling)
    weakening = replace(weakening, n_excluded=int(np.sum(~kept)))
    if not usual.any():
        return Interventions(inside, across, weakening, (), None, None)
    found = intervention_effects(table[0], table[1], labels, reference, inner, resampling)
    return Interventions(inside, across, weakening, found.effects, found.x_share, found.y_share)


def _weakening(
    table: FloatArray,
    reference: BoolArray,
    groups: Groups,
    found: tuple[Estimate, Estimate],
    resampling: Resampling,
) -> Estimate:
    nothing = Estimate(None, None, None, resampling.level, table.shape[1], groups.trials, 0)
    if reference.all():
        return replace(nothing, reason="training was not changed: there is one way of it only")
    for estimate in found:
        if estimate.value is None:
            return replace(nothing, reason=estimate.reason)
    inner = Groups(groups.trial[reference], groups.condition)
    inside, resampled_inside = pearson_of_weights(table[:, reference], inner)
    across, resampled_across = pearson_of_weights(table, groups)
    weakening = replace(nothing, value=abs(inside) - abs(across))
    if reason := why_no_interval(groups.select(reference)):
        return replace(weakening, reason=reason)
    weights = groups.weights(resampling.resamples, resampling.seed)
    resampled = np.abs(resampled_inside(weights)) - np.abs(resampled_across(weights))
    low, high = student_interval(
        abs(inside) - abs(across), resampled, groups.degrees_of_freedom, level=resampling.level
    )
    if low is None or high is None:
        return replace(weakening, reason="too many resamples leave it undefined")
    return replace(weakening, low=max(-1.0, low), high=min(1.0, high))


def flatness_is_an_epiphenomenon(
    hessian_trace: FloatArray,
    margin: FloatArray,
    train_error: FloatArray,
    intervention: Sequence[str],
    reference: str,
    groups: Groups,
    threshold: float = WEAKENING_THRESHOLD,
) -> Claim:
    """How much weaker trace and margin correlate once loss, optimizer or regularization change.

    Flatness that tracks the margin only because of how, and with which loss, one trains would
    lose it under another loss, sharpness-aware steps, label smoothing or weight decay: an
    intervention would move one and not the other. Snapshots with a training error of at most 0.1.

    Args:
        hessian_trace: Shape (n,), one value a snapshot.
        margin: Shape (n,), mean training margin.
        train_error: Shape (n,), in [0, 1].
        intervention: Shape (n,), how the network was trained.
        reference: Which of them is the usual way.
        groups: The trial and condition of each snapshot.
        threshold: What the weakening has to exceed.
    """
    small = train_error <= TRAIN_ERROR_THRESHOLD
    trace, gamma = hessian_trace[small], margin[small]
    compared = compare_interventions(
        positive_log10(trace),
        gamma,
        [label for label, keep in zip(intervention, small, strict=True) if keep],
        reference,
        groups.select(small),
    )
    estimate = compared.weakening
    sentences = [
        f"{counted(estimate.n, 'snapshot')} of {counted(estimate.n_groups, 'trial')} have a "
        f"training error of at most {TRAIN_ERROR_THRESHOLD:g}. "
        f"Across all ways of training r is {with_interval(compared.across)}.",
        "; ".join(
            [
                f"With {reference} r is {with_interval(compared.reference, 2)}",
                *(_told(one) for one in compared.effects),
            ]
        )
        + ".",
        _shares(compared),
        left_out(
            ("trace not positive", np.isfinite(trace) & (trace <= 0)),
            ("trace missing or not finite", ~np.isfinite(trace)),
            ("margin missing or not finite", ~np.isfinite(gamma)),
        ),
    ]
    if not estimate.has_interval:
        sentences.append(f"No verdict: {estimate.reason}.")
    sentences.append(f"A correlation that weakens by less than {threshold:g} has survived.")
    return Claim(
        "flatness_is_an_epiphenomenon",
        "Flatness is an epiphenomenon of how one trains: under another loss, optimizer or "
        "regularization it no longer tracks the margin as it did",
        "|Pearson r| between log10 Hessian trace and mean margin, in the usual training minus "
        "across all ways of training",
        estimate,
        threshold,
        decide(estimate, threshold, below=False),
        " ".join(sentence for sentence in sentences if sentence),
    )


def _told(one: InterventionEffect) -> str:
    moved = {"x only": ", moving the trace alone", "y only": ", moving the margin alone"}
    return (
        f"with {one.name} {with_interval(one.correlation, 2)}, log trace shifted by "
        f"{with_interval(one.x_shift, 1)} and margin by {with_interval(one.y_shift, 1)} standard "
        f"deviations{moved.get(one.moves, '')}"
    )


def _shares(compared: Interventions) -> str:
    if compared.x_share is None or compared.y_share is None:
        return ""
    return (
        "Of the variance, ways of training explain beyond seeds a share of "
        f"{with_interval(compared.x_share, 2)} for the log trace and "
        f"{with_interval(compared.y_share, 2)} for the margin."
    )
