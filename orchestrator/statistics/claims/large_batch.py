"""The claim that large batches only lack updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from orchestrator.statistics.beside import reach_sentences, stand_beside
from orchestrator.statistics.claim import (
    Claim,
    any_of,
    as_given,
    joined,
    judge,
    left_out,
    lies,
    percent,
    with_interval,
)
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import BoolArray, FloatArray, IntArray
from orchestrator.statistics.intervals.jackknife import Statistic
from orchestrator.statistics.intervals.ratio import Ratio, infer_ratio
from orchestrator.statistics.matched.times import (
    Matched,
    Pair,
    at_last_common_time,
    compare_matched_times,
)
from orchestrator.statistics.study_design import Design

EQUIVALENCE = 0.2
"""Relative difference up to which margins count as equal."""


def large_batch_needs_time(
    margin: FloatArray,
    gaps: Mapping[str, FloatArray],
    updates: FloatArray,
    epochs: FloatArray,
    batch_size: Sequence[float],
    groups: Groups,
    threshold: float = EQUIVALENCE,
    design: Design | None = None,
    learned: BoolArray | None = None,
) -> Claim:
    """Judge the margin of the largest batch size over the smallest's, at equal updates and epochs.

    In each setting of the other hyperparameters, the two are compared at the last number of
    updates that all their networks reached, and at the last common epoch. The ratio is that of the
    means over settings. The claim holds if the ratio is significantly within 1 ± δ at equal
    updates and significantly below 1 − δ at equal epochs: updates suffice, and epochs do not. It
    fails if either condition is significantly violated. Equivalence is tested by two one-sided
    tests (Schuirmann 1987), with Fieller's intervals.

    Args:
        margin: Shape (n,), mean training margin of snapshots along training.
        gaps: Name → shape (n,), for the explanation: the loss gap and the error gap.
        updates: Shape (n,), updates made before each snapshot.
        epochs: Shape (n,), epochs seen before each snapshot.
        batch_size: Shape (n,).
        groups: The trial and condition of each snapshot.
        threshold: δ.
        design: How conditions were chosen; by default only the batch size differs.
        learned: Shape (n,), whether the network of each snapshot learned; by default all did.
    """
    setting = _settings(batch_size, groups, Design() if design is None else design)
    sizes = np.asarray(batch_size, dtype=np.float64)
    bounds = 1 - threshold, 1 + threshold

    def compared(
        value: FloatArray, time: FloatArray, rows: BoolArray
    ) -> tuple[Matched, Ratio] | None:
        inner = groups.select(rows)
        kept = np.unique(groups.trial[rows])
        found = at_last_common_time(
            value[rows], time[rows], sizes[rows].tolist(), inner, setting[kept]
        )
        if found is None:
            return None
        return found, _ratio(found, setting[kept], inner, design or Design())

    everything = np.ones(len(sizes), dtype=np.bool_)
    at_updates = compared(margin, updates, everything)
    at_epochs = compared(margin, epochs, everything)
    beside = stand_beside(
        lambda rows, _: _shown(compared(margin, updates, rows)).inference.estimate,
        everything,
        lambda value: lies(value, bounds[0], "between", bounds[1]),
        groups,
        design or Design(),
        learned=learned,
    )
    shown, epochs_ratio = _shown(at_updates), _shown(at_epochs)
    equivalent = max(shown.p_above(bounds[0]), shown.p_below(bounds[1]))
    p_for = max(equivalent, epochs_ratio.p_below(bounds[0]))
    p_against = any_of(
        (shown.p_below(bounds[0]), shown.p_above(bounds[1]), epochs_ratio.p_above(bounds[0]))
    )
    verdict, p_value = judge(p_for, p_against)
    found = shown.inference
    sentences = [
        _told(at_updates, at_epochs),
        f"Margins that differ by at most {percent(threshold)} count as equal.",
        _gaps(gaps, lambda value: compared(value, updates, everything)),
        *(one.sentence for one in beside),
        _shares({"margin": margin, **gaps}, updates, epochs, batch_size, groups),
        left_out(("snapshots without a finite margin", found.estimate.n_excluded)),
        *reach_sentences(found, 2),
    ]
    if found.estimate.has_interval and not epochs_ratio.inference.estimate.has_interval:
        sentences.append(f"At equal epochs: {epochs_ratio.inference.estimate.reason}.")
    return Claim(
        "large_batch_needs_time",
        "Large batches only lack updates: after equally many updates their margins match those of "
        "small batches, and after equally many epochs they are smaller",
        "Mean margin of the largest batch size over that of the smallest, after the same number "
        "of updates",
        found.estimate,
        bounds[0],
        verdict,
        joined(sentences),
        side="between",
        upper=bounds[1],
        scope=found.scope,
        p_value=p_value if found.spread is not None else None,
        without=found.without,
        beside=beside,
        parts=f"After the same number of epochs, expected below {as_given(bounds[0])}, it is "
        f"{with_interval(epochs_ratio.inference.estimate, 2)}",
    )


def _settings(batch_size: Sequence[float], groups: Groups, design: Design) -> IntArray:
    """Return each trial's setting, as the number of one of its conditions: shape (trials,)."""
    sizes = np.full(int(groups.condition.max(initial=-1)) + 1, -1.0)
    sizes[groups.condition[groups.trial]] = np.asarray(batch_size, dtype=np.float64)
    if not design.axes:  # The conditions are unknown: assume that only the batch size differs.
        return np.zeros(groups.trials, dtype=np.int64)
    codes = np.unique(sizes, return_inverse=True)[1]
    return design.settings(codes, np.unique(groups.condition))[groups.condition]


def _ratio(matched: Matched, setting: IntArray, groups: Groups, design: Design) -> Ratio:
    trials = np.flatnonzero(np.isfinite(matched.value))
    inner = Groups(np.arange(len(trials)), groups.condition[trials])
    large, small = _means(matched.value[trials], matched.large[trials], setting[trials])
    return infer_ratio(
        large,
        small,
        inner,
        design,
        rows=len(trials),
        excluded=matched.excluded,
        undefined="the smallest and the largest batch size have no common point in training",
        zero="the margin of the smallest batch size is not significantly positive",
        unit=setting[trials],
    )


def _means(value: FloatArray, large: BoolArray, setting: IntArray) -> tuple[Statistic, Statistic]:
    """Return the mean over settings of the mean over trials, for large and small batches."""
    settings, codes = np.unique(setting, return_inverse=True)
    of_trials = Groups(codes.reshape(-1), np.arange(len(settings)))
    roles = (large, ~large)

    def mean(place: int) -> Statistic:
        def values(weights: FloatArray) -> FloatArray:
            counts = [of_trials.sums((weights * role).T).T for role in roles]
            there = (counts[0] > 0) & (counts[1] > 0)
            total = of_trials.sums((weights * (roles[place] * value)).T).T
            means = np.where(there, total / np.where(there, counts[place], 1), 0)
            known = there.sum(axis=1)
            found: FloatArray = np.where(
                known > 0, means.sum(axis=1) / np.maximum(known, 1), np.nan
            )
            return found

        return values

    return mean(0), mean(1)


def _shown(compared: tuple[Matched, Ratio] | None) -> Ratio:
    if compared is not None:
        return compared[1]
    empty = Groups(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    nothing: Statistic = lambda weights: np.full(len(weights), np.nan)  # noqa: E731
    reason = "fewer than two batch sizes have measured snapshots"
    return infer_ratio(nothing, nothing, empty, Design(), undefined=reason)


def _told(at_updates: tuple[Matched, Ratio] | None, at_epochs: tuple[Matched, Ratio] | None) -> str:
    parts = []
    for found, unit in ((at_updates, "updates"), (at_epochs, "epochs")):
        if found is None or not found[0].times:
            continue
        matched, ratio = found
        first, last = min(matched.times), max(matched.times)
        times = f"{first:,.6g}" if first == last else f"{first:,.6g} to {last:,.6g}"
        parts.append(
            f"after {times} {unit} the margin of batch size {matched.levels[1]:g} is "
            f"{with_interval(ratio.inference.estimate, 2)} times that of {matched.levels[0]:g}"
        )
    if not parts:
        return ""
    text = "; ".join(parts)
    return (
        f"{text[:1].upper()}{text[1:]}, in each case the last point that all networks of both "
        "reached."
    )


def _gaps(
    gaps: Mapping[str, FloatArray],
    compared: Callable[[FloatArray], tuple[Matched, Ratio] | None],
) -> str:
    parts = []
    for name, gap in gaps.items():
        found = compared(gap)
        if found is not None and found[1].inference.estimate.value is not None:
            parts.append(f"{with_interval(found[1].inference.estimate, 2)} times the {name}")
    return f"At equal updates, large batches have {' and '.join(parts)}." if parts else ""


def _shares(
    values: Mapping[str, FloatArray],
    updates: FloatArray,
    epochs: FloatArray,
    batch_size: Sequence[float],
    groups: Groups,
) -> str:
    """Return a sentence on the variance that batch size explains over networks and time.

    The shares of variance are given at equal epochs and at equal updates.
    """
    parts: list[str] = []
    pairs: tuple[Pair, ...] = ()
    for name, value in values.items():
        found = compare_matched_times(value, updates, epochs, batch_size, groups)
        pairs = pairs or found.pairs
        if found.at_epochs is not None and found.at_updates is not None:
            parts.append(
                f"{percent(found.at_epochs)} and {percent(found.at_updates)} for the {name}"
            )
    if not parts:
        return _not_compared(pairs)
    text = (
        "Over all of training, batch size explains these shares of the variance at equal epochs "
        f"and at equal updates: {'; '.join(parts)}."
    )
    return joined((text, _not_compared(pairs)))


def _not_compared(pairs: Sequence[Pair]) -> str:
    without = [f"{p.levels[0]:g} and {p.levels[1]:g}" for p in pairs if not p.comparable]
    if not without:
        return ""
    return f"Not compared over all of training, without common snapshots: {', '.join(without)}."
