"""The claim that flat minima are large margins, on all snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.claims.judge import Judge
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query, snapshots
from orchestrator.reporting.data.ways_of_training import kinds
from orchestrator.statistics import Claim, flatness_tracks_margin


class FlatnessTracksMargin(Judge, name="flatness_tracks_margin"):
    """Correlates trace and margin once the training error is small."""

    short = "Flat minima are large margins once training error is small"
    figure = "threshold"
    scale = "correlation"
    number, digits = "r = {}", 3
    holds = (
        "Flatness tracks the margin {scope}: where the training error is at most 0.1, the "
        "logarithm of the Hessian trace and the mean margin correlate with {number}."
    )
    fails = (
        "Flatness does not track the margin {scope} as strongly as claimed: where the training "
        "error is at most 0.1, {number}, not {threshold} or less."
    )
    unclear = "Whether flatness tracks the margin remains unclear: {number}."

    def query(self, measures: Sequence[str]) -> Query:
        """Return the query for all snapshots, with architecture and loss."""
        return snapshots([*measures, "model", "loss"])

    def judge(self, source: Source, rows: Rows, **given: Any) -> Claim:
        """Judge the correlation within architectures and losses."""
        return flatness_tracks_margin(
            rows.floats("hessian_trace"),
            rows.floats("margin_mean"),
            rows.floats("train_loss"),
            rows.floats("train_error"),
            rows.groups(),
            kinds=kinds(rows),
            **given,
        )
