"""The claim that the margin ranks networks by their gap at least as well as flatness does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.claims.judge import Judge
from orchestrator.reporting.data.network_queries import final_networks
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics import Claim, margin_predicts_gap_at_least_as_well


class MarginPredictsGap(Judge, name="margin_predicts_gap_at_least_as_well"):
    """Ranks final networks by margin, by Hessian trace and by both gaps."""

    short = "Margins rank generalization gaps at least as well as the trace does"
    figure = "gaps"
    symbol = "Δ|τ| = {}"
    number = "difference of τ {}, claimed {criterion}"
    holds = (
        "Larger margins go with smaller generalization gaps {scope}, at least as closely as "
        "flatter minima do ({number})."
    )
    fails = (
        "The margin does not rank networks by a generalization gap at least as well as the "
        "Hessian trace {scope}: it ranks worse, or larger margins go with larger gaps ({number})."
    )
    unclear = (
        "Whether the margin ranks networks by their gaps as well as the Hessian trace remains "
        "unclear: {number}."
    )
    methods = (
        "Signed rank correlations",
        "τ_b over pairs of networks of different conditions. For every gap, the claim requires "
        "−τ(margin) − τ(trace) above its threshold, τ(margin) below 0, and τ(trace) above 0.",
    )

    def query(self, measures: Sequence[str]) -> Query:
        """Return the query for final networks."""
        return final_networks(measures)

    def judge(self, source: Source, rows: Rows, **given: Any) -> Claim:
        """Judge the difference of the rank correlations with each gap."""
        return margin_predicts_gap_at_least_as_well(
            rows.floats("margin_mean"),
            rows.floats("hessian_trace"),
            {"loss gap": rows.floats("loss_gap"), "error gap": rows.floats("error_gap")},
            rows.groups(),
            train_loss=rows.floats("train_loss"),
            **given,
        )
