"""Correlation of flatness and margin when training itself is changed."""

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
    """A correlation under changes of training.

    Attributes:
        reference: Pearson's r within the reference.
        across: Pearson's r over all interventions together.
        weakening: |r| within the reference minus |r| across.
        effects: Effects of each other way of training; empty if the reference has no rows.
        x_share: Share of the variance of x between ways of training, beyond seeds; None without
            rows of the reference.
        y_share: The same for y.
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
    """Estimate how much weaker a correlation is across interventions than within the reference.

    If y determines x in every way of training, interventions move networks along one line, and r
    across them is no weaker. If an intervention moves only one measure, or breaks their relation,
    r across interventions falls. Both r come from the same resamples.

    Args:
        x: Shape (n,).
        y: Shape (n,). Rows not finite in both are left out and counted.
        intervention: Shape (n,), the way of training of each row's network.
        reference: The usual way of training.
        groups: The trial and condition of each row; a condition has one intervention.
        resampling: Resampling settings of the intervals.
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
        return replace(nothing, reason="only one way of training is present")
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
        return replace(weakening, reason="undefined in too many resamples")
    return replace(weakening, low=max(-1.0, low), high=min(1.0, high))
