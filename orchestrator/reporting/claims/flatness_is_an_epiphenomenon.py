"""The claim that flatness follows the margin only under the usual training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.claims.judge import Judge
from orchestrator.reporting.data.network_queries import by_intervention
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.data.ways_of_training import ways_of_training
from orchestrator.statistics import Claim, flatness_is_an_epiphenomenon
from orchestrator.study.design import ranged_columns


class FlatnessIsAnEpiphenomenon(Judge, name="flatness_is_an_epiphenomenon"):
    """Compares the slope of log trace on margin between ways of training."""

    short = "Trained otherwise, flatness no longer follows the margin as before"
    figure = "interventions"
    symbol = "slope × {}"
    number = "slope {} times the usual one"
    holds = (
        "Flatness is an epiphenomenon of the way of training {scope}: under another loss, "
        "optimizer or regularization it follows the margin differently than under the usual "
        "training ({number})."
    )
    fails = (
        "Flatness follows the margin {scope} under other losses, optimizers and regularization "
        "much as under the usual training ({number})."
    )
    unclear = (
        "Whether flatness follows the margin only under the usual training remains unclear: "
        "{number}."
    )
    methods = (
        "Slopes",
        "Each way of training has its own least-squares line of log10 trace on margin (analysis "
        "of covariance). The ratio of a slope to that of the usual training has Fieller’s "
        "interval: all ρ for which slope − ρ · usual slope could be 0. Conditions that differ "
        "only in the way of training are left out together.",
    )

    def query(self, measures: Sequence[str]) -> Query:
        """Return the query for all snapshots, with how their networks were trained."""
        return by_intervention(measures)

    def judge(self, source: Source, rows: Rows, **given: Any) -> Claim:
        """Judge the ratio of slopes."""
        ways, plainest = ways_of_training(rows, ranged_columns(source.study))
        return flatness_is_an_epiphenomenon(
            rows.floats("hessian_trace"),
            rows.floats("margin_mean"),
            rows.floats("train_error"),
            ways,
            plainest,
            rows.groups(),
            **given,
        )
