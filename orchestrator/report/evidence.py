"""The study's claims, judged on its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orchestrator.report.network_queries import (
    by_intervention,
    final_networks,
)
from orchestrator.report.queries import (
    FURTHER_REPARAMETRIZED,
    PAIRED_SECONDS,
    REPARAMETRIZED,
    Query,
    along_training,
    snapshots,
)
from orchestrator.report.source import Source, claims_of, open_source
from orchestrator.report.stated import judge_stated
from orchestrator.report.ways_of_training import ways_of_training
from orchestrator.results import Location, again_if_compacted
from orchestrator.statistics import (
    Claim,
    flatness_depends_on_parametrization,
    flatness_is_an_epiphenomenon,
    flatness_tracks_margin,
    large_batch_needs_time,
    margin_is_cheaper,
    margin_predicts_gap_at_least_as_well,
)
from orchestrator.study.claim_options import BuiltInClaim, StatedClaim

Threshold = Mapping[str, float]
"""``{"threshold": …}`` where the study gives one, else nothing."""

MARGIN = "margin_mean"
TRACE = "hessian_trace"
_CONFOUNDERS = {"batch size": "batch_size", "width": "width"}


@dataclass(frozen=True)
class Judged:
    """A claim with what it rests on.

    Attributes:
        claim: The claim and its verdict.
        query: Where its rows come from.
        figure: Key of the figure that shows it; ``fragility`` is the audit's table.
    """

    claim: Claim
    query: Query
    figure: str


@again_if_compacted
def check_claims(results: str | Location, *, everything: bool = False) -> list[Claim]:
    """Judge the claims that the study names.

    Args:
        results: The results folder; the study need not be finished.
        everything: As for :func:`~orchestrator.report.write_report`.

    Returns:
        One claim for each name in the study's ``claims``, in that order.

    Raises:
        ResultsError: If there are no results at that path.
    """
    with open_source(results, everything=everything) as source:
        return [judged.claim for judged in judge_claims(source)]


def judge_claims(source: Source) -> list[Judged]:
    """Judge the claims that the study names, in its order."""
    return [_judge(source, claim) for claim in claims_of(source)]


def _judge(source: Source, claim: BuiltInClaim | StatedClaim) -> Judged:
    if isinstance(claim, StatedClaim):
        return Judged(*judge_stated(source, claim), figure="")
    threshold = {} if claim.threshold is None else {"threshold": claim.threshold}
    return _JUDGES[claim.name](source, threshold)


def _flatness_tracks_margin(source: Source, threshold: Threshold) -> Judged:
    wanted = (MARGIN, TRACE, *_CONFOUNDERS.values())
    query = snapshots([name for name in wanted if source.has(name)])
    rows = source.rows(query)
    claim = flatness_tracks_margin(
        rows.floats(TRACE),
        rows.floats(MARGIN),
        rows.floats("train_loss"),
        rows.floats("train_error"),
        rows.groups(),
        controls={name: rows.floats(column) for name, column in _CONFOUNDERS.items()},
        **threshold,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), query, "threshold")


def _margin_is_cheaper(source: Source, threshold: Threshold) -> Judged:
    rows = source.rows(PAIRED_SECONDS)
    claim = margin_is_cheaper(
        rows.floats("trace_seconds"),
        rows.floats("margin_seconds"),
        rows.groups(),
        rows["method"],
        rows.floats("probe_seconds"),
        **threshold,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), PAIRED_SECONDS, "cost")


def _flatness_depends_on_parametrization(source: Source, threshold: Threshold) -> Judged:
    rows = source.rows(REPARAMETRIZED)
    claim = flatness_depends_on_parametrization(
        rows.floats("trace_change"),
        rows.floats("margin_change"),
        rows.groups(),
        {
            ", ".join(filter(None, (measure, variant))): change
            for measure, variant, change in source.rows(FURTHER_REPARAMETRIZED).tuples()
        },
        **threshold,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), REPARAMETRIZED, "fragility")


def _large_batch_needs_time(source: Source, threshold: Threshold) -> Judged:
    query = along_training([MARGIN] if source.has(MARGIN) else [], "batch_size")
    rows = source.rows(query)
    claim = large_batch_needs_time(
        rows.floats(MARGIN),
        {"loss gap": rows.floats("loss_gap"), "error gap": rows.floats("error_gap")},
        rows.floats("step"),
        rows.floats("epoch"),
        rows.floats("hue").tolist(),
        rows.groups(),
        **threshold,
    )
    return Judged(_with_missing(claim, source, MARGIN), query, "training")


def _margin_predicts_gap(source: Source, threshold: Threshold) -> Judged:
    query = final_networks([name for name in (MARGIN, TRACE) if source.has(name)])
    rows = source.rows(query)
    claim = margin_predicts_gap_at_least_as_well(
        rows.floats(MARGIN),
        rows.floats(TRACE),
        {"loss gap": rows.floats("loss_gap"), "error gap": rows.floats("error_gap")},
        rows.groups(),
        **threshold,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), query, "gaps")


def _flatness_is_an_epiphenomenon(source: Source, threshold: Threshold) -> Judged:
    query = by_intervention([name for name in (MARGIN, TRACE) if source.has(name)])
    rows = source.rows(query)
    ways, plainest = ways_of_training(rows)
    claim = flatness_is_an_epiphenomenon(
        rows.floats(TRACE),
        rows.floats(MARGIN),
        rows.floats("train_error"),
        ways,
        plainest,
        rows.groups(),
        **threshold,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), query, "interventions")


def _with_missing(claim: Claim, source: Source, *measures: str) -> Claim:
    """Say first which measures the study does not have at all."""
    missing = [name for name in measures if not source.has(name)]
    if not missing:
        return claim
    first = f"No snapshot has a {' or a '.join(missing)} yet, so nothing can be said."
    return replace(claim, explanation=first, verdict="unclear")


_JUDGES: dict[str, Callable[[Source, Threshold], Judged]] = {
    "flatness_tracks_margin": _flatness_tracks_margin,
    "margin_is_cheaper": _margin_is_cheaper,
    "flatness_depends_on_parametrization": _flatness_depends_on_parametrization,
    "margin_predicts_gap_at_least_as_well": _margin_predicts_gap,
    "flatness_is_an_epiphenomenon": _flatness_is_an_epiphenomenon,
    "large_batch_needs_time": _large_batch_needs_time,
}
