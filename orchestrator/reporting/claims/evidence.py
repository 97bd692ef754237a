"""Judging the study's claims on its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orchestrator.reporting.claims.registration import stated_after_results
from orchestrator.reporting.claims.stated_claims import judge_stated
from orchestrator.reporting.data.conditions import Conditions, read_conditions
from orchestrator.reporting.data.cost_queries import PAIRED_SECONDS
from orchestrator.reporting.data.network_queries import (
    by_intervention,
    final_networks,
)
from orchestrator.reporting.data.open_results import Source, claims_of, open_source
from orchestrator.reporting.data.queries import (
    FURTHER_REPARAMETRIZED,
    REPARAMETRIZED,
    Query,
    along_training,
    snapshots,
)
from orchestrator.reporting.data.ways_of_training import kinds, ways_of_training
from orchestrator.results import Location, again_if_compacted
from orchestrator.statistics import (
    Claim,
    flatness_depends_on_parametrization,
    flatness_is_an_epiphenomenon,
    flatness_tracks_margin,
    holm,
    large_batch_needs_time,
    margin_is_cheaper,
    margin_predicts_gap_at_least_as_well,
)
from orchestrator.statistics.claim import counted
from orchestrator.study.claim_options import BuiltInClaim, StatedClaim
from orchestrator.study.design import ranged_columns

Options = Mapping[str, Any]
"""The threshold, if the study sets one."""

WRONG = 0.05
"""Largest share of wrong verdicts in simulated studies."""

MARGIN = "margin_mean"
TRACE = "hessian_trace"


@dataclass(frozen=True)
class Judged:
    """A claim with its evidence.

    Attributes:
        claim: The claim and its verdict.
        query: Query behind the claim.
        figure: Key of the figure that shows the claim; ``fragility`` is the audit's table.
        holm: p-value of the claim, adjusted by Holm's method over all claims of the study except
            checks; None for a check or without an interval.
        late: Sentence if the claim was stated after the first results, or "".
    """

    claim: Claim
    query: Query
    figure: str
    holm: float | None = None
    late: str = ""


@again_if_compacted
def check_claims(results: str | Location, *, everything: bool = False) -> list[Claim]:
    """Judge the claims of the study.

    Args:
        results: The results folder; the study need not be finished.
        everything: As for :func:`~orchestrator.reporting.write_report`.

    Returns:
        One claim per entry of the study's ``claims``, in that order.

    Raises:
        ResultsError: If the path has no results.
    """
    with open_source(results, everything=everything) as source:
        return [judged.claim for judged in judge_claims(source)]


def judge_claims(source: Source) -> list[Judged]:
    """Judge the claims of the study, in its order."""
    claims = claims_of(source)
    if not claims:
        return []
    conditions = read_conditions(source)
    return _adjusted(
        [
            replace(_judge(source, claim, conditions), late=late)
            for claim, late in zip(claims, stated_after_results(source), strict=True)
        ]
    )


def expected_wrong(judged: Sequence[Judged]) -> str:
    """Describe how many verdicts are expected to be wrong; "" without a verdict."""
    findings = [one.claim for one in judged if not one.claim.check]
    verdicts = sum(claim.verdict != "unclear" for claim in findings)
    if not verdicts:
        return ""
    here = sum(c.verdict != "unclear" and c.scope == "in this grid" for c in findings)
    alone = (
        f" {'All' if here == verdicts else f'{here} of them'} apply to this grid only, with other "
        "seeds."
        if here
        else ""
    )
    return (
        f"{counted(verdicts, 'verdict')} on {counted(len(findings), 'claim')}: at most "
        f"{WRONG * verdicts:.2g} of them are expected to be wrong, even if every truth lies "
        "exactly at its threshold (see Verdict rates under Methods). Each claim also gives Holm’s "
        f"p-value, which bounds the chance of any wrong verdict on this page.{alone}"
    )


def _adjusted(judged: list[Judged]) -> list[Judged]:
    """Add p-values adjusted by Holm's method over the claims of the study file."""
    p_values = [
        np.nan if one.claim.check or one.claim.p_value is None else one.claim.p_value
        for one in judged
    ]
    return [
        one if np.isnan(p) else replace(one, holm=float(p))
        for one, p in zip(judged, holm(p_values), strict=True)
    ]


def _judge(source: Source, claim: BuiltInClaim | StatedClaim, conditions: Conditions) -> Judged:
    if isinstance(claim, StatedClaim):
        return Judged(*judge_stated(source, claim, conditions), figure="")
    options = {} if claim.threshold is None else {"threshold": claim.threshold}
    return _JUDGES[claim.name](source, conditions, options)


def _flatness_tracks_margin(source: Source, conditions: Conditions, options: Options) -> Judged:
    query = snapshots([*_there(source, MARGIN, TRACE), "model", "loss"])
    rows = source.rows(query)
    claim = flatness_tracks_margin(
        rows.floats(TRACE),
        rows.floats(MARGIN),
        rows.floats("train_loss"),
        rows.floats("train_error"),
        rows.groups(),
        design=conditions.design(rows),
        learned=conditions.learned(rows),
        kinds=kinds(rows),
        **options,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), query, "threshold")


def _margin_is_cheaper(source: Source, conditions: Conditions, options: Options) -> Judged:
    rows = source.rows(PAIRED_SECONDS)
    claim = margin_is_cheaper(
        rows.floats("trace_seconds"),
        rows.floats("margin_seconds"),
        rows.groups(),
        rows["method"],
        rows.floats("probe_seconds"),
        design=conditions.design(rows),
        learned=conditions.learned(rows),
        **options,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), PAIRED_SECONDS, "cost")


def _flatness_depends_on_parametrization(source: Source, _: Conditions, options: Options) -> Judged:
    rows = source.rows(REPARAMETRIZED)
    claim = flatness_depends_on_parametrization(
        rows.floats("trace_change"),
        rows.floats("margin_change"),
        rows.groups(),
        {
            ", ".join(filter(None, (measure, variant))): change
            for measure, variant, change in source.rows(FURTHER_REPARAMETRIZED).tuples()
        },
        **options,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), REPARAMETRIZED, "fragility")


def _large_batch_needs_time(source: Source, conditions: Conditions, options: Options) -> Judged:
    query = along_training(_there(source, MARGIN), "batch_size")
    rows = source.rows(query)
    claim = large_batch_needs_time(
        rows.floats(MARGIN),
        {"loss gap": rows.floats("loss_gap"), "error gap": rows.floats("error_gap")},
        rows.floats("step"),
        rows.floats("epoch"),
        rows.floats("hue").tolist(),
        rows.groups(),
        design=conditions.design(rows),
        learned=conditions.learned(rows),
        **options,
    )
    return Judged(_with_missing(claim, source, MARGIN), query, "training")


def _margin_predicts_gap(source: Source, conditions: Conditions, options: Options) -> Judged:
    query = final_networks(_there(source, MARGIN, TRACE))
    rows = source.rows(query)
    claim = margin_predicts_gap_at_least_as_well(
        rows.floats(MARGIN),
        rows.floats(TRACE),
        {"loss gap": rows.floats("loss_gap"), "error gap": rows.floats("error_gap")},
        rows.groups(),
        design=conditions.design(rows),
        learned=conditions.learned(rows),
        train_loss=rows.floats("train_loss"),
        **options,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), query, "gaps")


def _flatness_is_an_epiphenomenon(
    source: Source, conditions: Conditions, options: Options
) -> Judged:
    query = by_intervention(_there(source, MARGIN, TRACE))
    rows = source.rows(query)
    ways, plainest = ways_of_training(rows, ranged_columns(source.study))
    claim = flatness_is_an_epiphenomenon(
        rows.floats(TRACE),
        rows.floats(MARGIN),
        rows.floats("train_error"),
        ways,
        plainest,
        rows.groups(),
        design=conditions.design(rows),
        learned=conditions.learned(rows),
        **options,
    )
    return Judged(_with_missing(claim, source, MARGIN, TRACE), query, "interventions")


def _there(source: Source, *names: str) -> list[str]:
    return [name for name in names if source.has(name)]


def _with_missing(claim: Claim, source: Source, *measures: str) -> Claim:
    """Leave a claim unclear if the study lacks a measure, and name the missing measures."""
    missing = [name for name in measures if not source.has(name)]
    if not missing:
        return claim
    first = f"No snapshot has {' or '.join(missing)} yet, so the claim cannot be judged."
    return replace(claim, explanation=first, verdict="unclear")


_JUDGES: dict[str, Callable[[Source, Conditions, Options], Judged]] = {
    "flatness_tracks_margin": _flatness_tracks_margin,
    "margin_is_cheaper": _margin_is_cheaper,
    "flatness_depends_on_parametrization": _flatness_depends_on_parametrization,
    "margin_predicts_gap_at_least_as_well": _margin_predicts_gap,
    "flatness_is_an_epiphenomenon": _flatness_is_an_epiphenomenon,
    "large_batch_needs_time": _large_batch_needs_time,
}
