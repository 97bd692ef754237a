"""The claim that flat minima are large margins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from orchestrator.statistics.association.correlation import pearson, within_pearson
from orchestrator.statistics.association.order import in_order, ordered_codes
from orchestrator.statistics.beside import reach_sentences, stand_beside
from orchestrator.statistics.claim import (
    Claim,
    counted,
    joined,
    judge,
    left_out,
    lies,
    number,
    with_interval,
)
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import (
    BoolArray,
    FloatArray,
    all_finite,
    positive_log10,
)
from orchestrator.statistics.intervals.inference import CORRELATIONS, Inference, infer
from orchestrator.statistics.intervals.jackknife import Statistic
from orchestrator.statistics.intervals.over_conditions import correlation, rank_correlation
from orchestrator.statistics.study_design import Design

CORRELATION_THRESHOLD = -0.8
TRAIN_ERROR_THRESHOLD = 0.1
FEWEST_SNAPSHOTS = 10
FEWEST_CONDITIONS = 2


def flatness_tracks_margin(
    hessian_trace: FloatArray,
    margin: FloatArray,
    train_loss: FloatArray,
    train_error: FloatArray,
    groups: Groups,
    threshold: float = CORRELATION_THRESHOLD,
    design: Design | None = None,
    kinds: Sequence[str] | None = None,
    learned: BoolArray | None = None,
) -> Claim:
    """Judge Pearson's r between log₁₀ trace and mean margin at training errors of at most 0.1.

    If networks of several architectures or losses are mixed, r is computed within them, at matched
    training loss: the mean of each is removed, and the logarithm of the loss is held fixed.
    Otherwise differences between architectures would decide (Simpson's paradox).

    Training loss is the known confounder: for a binary logistic loss, tr H / (ℓ‖x‖²) tends to 1
    as margins grow. Therefore r is also reported with the known confounders held fixed.

    Args:
        hessian_trace: Shape (n,), one value per snapshot; NaN if not measured.
        margin: Shape (n,), mean training margin.
        train_loss: Shape (n,).
        train_error: Shape (n,), in [0, 1].
        groups: The trial and condition of each snapshot.
        threshold: Value that r must lie below.
        design: How conditions were chosen; unknown by default.
        kinds: Shape (n,), architecture and loss of each network; by default all the same.
        learned: Shape (n,), whether the network of each snapshot learned; by default all did.
    """
    design = Design() if design is None else design
    small = train_error <= TRAIN_ERROR_THRESHOLD
    table = np.stack([positive_log10(hessian_trace), margin, positive_log10(train_loss)])
    labels = [""] * len(margin) if kinds is None else list(kinds)
    measured = small & all_finite(table[0], table[1])
    names = in_order(label for label, keep in zip(labels, measured, strict=True) if keep)
    mixed = len(names) > 1
    kind = ordered_codes(labels)[1]
    used = measured & np.isfinite(table[2]) if mixed else measured
    own = table[2:] if mixed else table[2:2]  # Columns that the claim itself holds fixed.

    def inferred(rows: BoolArray, given: FloatArray | None = None) -> Inference:
        columns = np.concatenate([table[:2, rows], own[:, rows] if given is None else given])
        inner = groups.select(rows)
        return infer(
            correlation(columns, inner, kind[rows] if mixed else None),
            inner,
            design,
            CORRELATIONS,
            rows=int(rows.sum()),
            excluded=int(np.sum(small & ~rows)),
            limits=(-1.0, 1.0),
            undefined=_why_undefined(int(rows.sum())),
        )

    found, inner = inferred(used), groups.select(used)
    beside = stand_beside(
        lambda rows, given: inferred(rows, given).estimate,
        used,
        lambda value: lies(value, threshold, "below"),
        groups,
        design,
        train_loss,
        learned,
    )
    verdict, p_value = judge(found.p_below(threshold), found.p_above(threshold))
    sentences = [
        f"{counted(found.estimate.n, 'snapshot')} of {counted(inner.trials, 'trial')} in "
        f"{counted(inner.conditions, 'condition')} have a training error of at most "
        f"{TRAIN_ERROR_THRESHOLD:g}.",
        left_out(
            ("trace not positive", small & np.isfinite(hessian_trace) & (hessian_trace <= 0)),
            ("trace missing or not finite", small & ~np.isfinite(hessian_trace)),
            ("margin missing or not finite", small & ~np.isfinite(margin)),
            ("training loss not positive", measured & ~used),
        ),
        *(one.sentence for one in beside),
        f"Within conditions, between trial means, r is "
        f"{with_interval(within_pearson(table[0, used], table[1, used], inner))}.",
        *_footnotes(table[:2], used, [(name, np.array(labels) == name) for name in names], groups),
        *reach_sentences(found),
    ]
    if found.estimate.n < FEWEST_SNAPSHOTS or inner.conditions < FEWEST_CONDITIONS:
        verdict = "unclear"
        sentences.append(
            f"A verdict needs at least {FEWEST_SNAPSHOTS} snapshots "
            f"from {FEWEST_CONDITIONS} conditions."
        )
    where = ", within architectures and losses at matched training loss" if mixed else ""
    return Claim(
        "flatness_tracks_margin",
        "Once training error is small, flat minima are large margins: "
        "the lower the Hessian trace, the larger the mean margin",
        f"Pearson r between log10 Hessian trace and mean margin on the training set{where}",
        found.estimate,
        threshold,
        verdict,
        joined(sentences),
        side="below",
        scope=found.scope,
        p_value=p_value if found.spread is not None else None,
        without=found.without,
        beside=beside,
    )


def _footnotes(
    table: FloatArray,
    used: BoolArray,
    kinds: Sequence[tuple[object, BoolArray]],
    groups: Groups,
) -> list[str]:
    """Return sentences on r per kind and pooled, on ranks, and on independent rows."""

    def plain(statistic: Callable[[FloatArray, Groups], Statistic], rows: BoolArray) -> str:
        inner = groups.select(rows)
        value = float(statistic(table[:, rows], inner)(np.ones((1, inner.trials)))[0])
        return number(value) if np.isfinite(value) else "unknown"

    if not used.any():
        return []
    told = [f"Over all snapshots, Spearman’s ρ is {plain(rank_correlation, used)}."]
    if len(kinds) > 1:
        each = "; ".join(f"{plain(correlation, used & one)} for {name}" for name, one in kinds)
        pooled = plain(correlation, used)
        told = [f"Without the loss held fixed, r is {each}; pooled over all {pooled}.", *told]
    independent = pearson(*table[:, used])
    if independent.has_interval:
        ends = with_interval(independent).partition(" ")[2]
        told.append(
            "If all snapshots were independent (those of one network are not), Fisher’s interval "
            f"for r would be {ends}."
        )
    return told


def _why_undefined(rows: int) -> str:
    return f"{counted(rows, 'snapshot')} over which trace and margin do not both vary"
