"""Limitations of a study, derived from its results."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.reporting.data.completeness import Progress
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import (
    DATASET_NAMES,
    FAILED_TRIALS,
    MEASURE_STATUS,
    MILESTONES_REACHED,
    NOT_POSITIVE_TRACES,
    SEEDS_PER_CONDITION,
    STANDARD_ERRORS,
    UNCONVERGED,
)
from orchestrator.reporting.text.network_checks import checks_not_passed
from orchestrator.results import did_not_learn
from orchestrator.statistics.claim import counted
from orchestrator.study.learning_criterion import largest_error

FEW_SEEDS = 5
LARGE_RELATIVE_ERROR = 0.1
_MOST_NAMED = 6


def find_limitations(source: Source, progress: Progress) -> list[str]:
    """Return one or two sentences per limitation of the study."""
    return [
        *_left_out(source),
        *_seeds(source),
        *_unfinished(progress),
        *_failed(source, progress),
        *_unlearned(source),
        *_targets(source, progress),
        *checks_not_passed(source),
        *_excluded(source),
        *_estimates(source),
        *_always(source),
    ]


def _left_out(source: Source) -> Iterator[str]:
    count, values = len(source.left_out.trial_ids), source.left_out.values
    if count:
        named = [f"{value} ({number:,})" for value, number in values.items()]
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        yield (
            f"{counted(count, 'stored trial')} with values that are no longer in the grid "
            f"{'is' if count == 1 else 'are'} excluded: {', '.join(named[:_MOST_NAMED])}{more}. "
            "`report --everything` includes them; `query` always does."
        )


def _seeds(source: Source) -> Iterator[str]:
    fewest, most, conditions = source.rows(SEEDS_PER_CONDITION).tuples()[0]
    if not conditions:
        yield "No trial is completed, so the spread over seeds is unknown."
    elif fewest < FEW_SEEDS:
        seeds = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        yield (
            f"Few seeds: {counted(conditions, 'condition')} with {seeds} completed "
            f"{'trial' if most == 1 else 'trials'} each. Intervals are widened accordingly, but "
            f"{FEW_SEEDS} or more seeds would separate effects from chance more reliably."
        )
        if fewest == 1:
            yield (
                "Conditions with a single trial give no information about their own spread. They "
                "were pooled for intervals, which makes intervals too wide rather than too narrow."
            )


def _unfinished(progress: Progress) -> Iterator[str]:
    if progress.outstanding:
        running = progress.trials.get("running", 0)
        yield (
            f"{counted(progress.outstanding, 'trial')} of {progress.expected_trials:,} "
            f"{'is' if progress.outstanding == 1 else 'are'} unfinished ({running:,} started). "
            "The finished ones may not be representative."
        )
    for request, missing in progress.unmeasured.items():
        if missing:
            of = f"{missing:,} of {counted(progress.asked[request], 'snapshot')}"
            yield f"Not measured yet: {request} on {of}."


def _failed(source: Source, progress: Progress) -> Iterator[str]:
    if progress.failed:
        examples = "; ".join(
            f"{trial_id}: {(error or 'no reason recorded').splitlines()[0][:200]}"
            for trial_id, error in source.rows(FAILED_TRIALS).tuples()
        )
        verb = "is" if progress.failed == 1 else "are"
        yield f"{counted(progress.failed, 'trial')} failed and {verb} excluded ({examples})."
    diverged = progress.stop_reasons.get("diverged", 0)
    if diverged:
        yield (
            f"{counted(diverged, 'trial')} diverged; snapshots without finite values are "
            "excluded, which favours settings that train stably."
        )


def _unlearned(source: Source) -> Iterator[str]:
    trials = did_not_learn(source.connection, source.study)
    if trials:
        named = ", ".join(trials[:_MOST_NAMED])
        more = f" and {len(trials) - _MOST_NAMED} more" if len(trials) > _MOST_NAMED else ""
        yield (
            f"{counted(len(trials), 'completed trial')} did not learn: {named}{more}. Their final "
            "training loss is not finite, or their final training error exceeds half that of the "
            "best constant prediction, or the limit that the study sets. They are included in all "
            "figures and claims; each claim also gives the estimate without them."
        )
    unknown = [
        str(name)
        for (name,) in source.rows(DATASET_NAMES).tuples()
        if largest_error(source.study.get("learned"), name) is None
    ]
    if unknown:
        yield (
            f"For {', '.join(unknown)} the error of the best constant prediction is unknown, so "
            "only a non-finite training loss shows that a network did not learn. To set a limit, "
            "add learned: {train_error: …} to the study."
        )


def _targets(source: Source, progress: Progress) -> Iterator[str]:
    stop = source.study.get("training", {}).get("stop", {})
    target = stop.get("train_loss")
    short = progress.completed - progress.stop_reasons.get("train_loss", 0)
    if target is not None and short:
        yield (
            f"{short:,} of {counted(progress.completed, 'completed trial')} never reached the "
            f"training loss {target:g} at which training was to stop. Final networks are "
            "therefore not all trained equally well."
        )
    reached = dict(source.rows(MILESTONES_REACHED).tuples())
    ended = progress.completed + progress.failed
    for milestone in source.study.get("checkpoints", {}).get("train_loss", ()):
        missed = ended - reached.get(milestone, 0)
        if missed > 0:
            yield (
                f"{missed:,} of {counted(ended, 'ended trial')} have no snapshot at the training "
                f"loss {milestone:g}: they never reached it."
            )


def _excluded(source: Source) -> Iterator[str]:
    rows = source.rows(MEASURE_STATUS).tuples()
    for status, words in (("nonfinite", "not finite"), ("error", "failed")):
        found = [row for row in rows if row[4] == status]
        if found:
            total = sum(row[5] for row in found)
            names = [f"{_name(row)} ({row[5]:,})" for row in found[:_MOST_NAMED]]
            more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
            reasons = [str(row[6]).splitlines()[0][:200] for row in found if row[6]]
            reason = f" First reason: {reasons[0]}." if reasons else ""
            yield f"{counted(total, 'value')} {words}: {', '.join(names)}{more}.{reason}"
    not_positive = source.rows(NOT_POSITIVE_TRACES)["n"][0]
    if not_positive:
        yield (
            f"{counted(not_positive, 'Hessian trace')} at or below zero "
            f"{'has' if not_positive == 1 else 'have'} no logarithm and "
            f"{'is' if not_positive == 1 else 'are'} excluded from correlations and figures."
        )
    for measure, count, example in source.rows(UNCONVERGED).tuples():
        yield (
            f"{measure} did not converge on {counted(count, 'snapshot')}, where it is excluded "
            f"({example})."
        )


def _estimates(source: Source) -> Iterator[str]:
    for measure, variant, n, middle, largest in source.rows(STANDARD_ERRORS).tuples():
        if largest > LARGE_RELATIVE_ERROR:
            name = f"{measure} ({variant})" if variant else measure
            yield (
                f"{name} is an estimate: over {counted(n, 'value')}, its relative standard error "
                f"has median {middle:.2g} and maximum {largest:.2g}."
            )


def _always(source: Source) -> Iterator[str]:
    yield (
        "Correlation is not causation. Margin and flatness both follow the training loss, so each "
        "correlation is also given with the loss held fixed."
    )
    yield (
        "Rescaling layers changes flatness although the function stays the same (Dinh et al., "
        "arXiv:1703.04933). Both margin and flatness change with the scale of the logits."
    )


def _name(row: tuple[object, ...]) -> str:
    _, measure, variant, split, *_ = row
    return " ".join(str(part) for part in (measure, variant, split) if part)
