"""Whether flatness and margin stay together when training itself is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.statistics.association.correlation import pearson, pearson_of_weights
from orchestrator.statistics.grid.intervention_effects import (
    InterventionEffect,
    intervention_effects,
)
from orchestrator.statistics.intervals.bootstrap import Groups, student_interval, why_no_interval
from orchestrator.statistics.intervals.estimate import (
    BoolArray,
    Estimate,
    FloatArray,
    all_finite,
)
from orchestrator.statistics.intervals.resampling import DEFAULT, Resampling


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
