"""The claim that large batches merely lack updates, on snapshots of completed trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.claims.judge import Judge
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query, along_training
from orchestrator.statistics import Claim, large_batch_needs_time
from orchestrator.statistics.matched.times import POINTS


class LargeBatchNeedsTime(Judge, name="large_batch_needs_time"):
    """Compares margins of batch sizes after as many updates and after as many epochs."""

    short = "Large batches merely lack updates"
    figure = "training"
    symbol = "{} times"
    scale = "ratio"
    holds = (
        "Large batches merely lack updates {scope}: after equally many updates their margins are "
        "{number} times those of small batches, and after equally many epochs they are smaller."
    )
    fails = (
        "Large batches do not merely lack updates {scope}: after equally many updates their "
        "margins are {number} times those of small batches."
    )
    unclear = "Whether large batches merely lack updates remains unclear: {number}."
    methods = (
        "Matched time",
        "For each setting of all other hyperparameters, the largest and the smallest batch size "
        "are compared at the last update, and at the last epoch, that all their networks reached. "
        "Values between snapshots are interpolated linearly in the logarithm of time. The ratio "
        "of mean margins has Fieller’s interval; margins count as equal if the interval lies "
        "within the bounds (two one-sided tests, Schuirmann 1987). Shares of variance are those "
        "of batch size within points of time, minus the part expected by chance (ω²), relative to "
        f"all variance over networks and time, at {POINTS} logarithmically spaced times.",
    )

    def query(self, measures: Sequence[str]) -> Query:
        """Return the query for snapshots in order of time."""
        return along_training(measures, "batch_size")

    def judge(self, source: Source, rows: Rows, **given: Any) -> Claim:
        """Judge the ratio of margins after as many updates."""
        return large_batch_needs_time(
            rows.floats("margin_mean"),
            {"loss gap": rows.floats("loss_gap"), "error gap": rows.floats("error_gap")},
            rows.floats("step"),
            rows.floats("epoch"),
            rows.floats("hue").tolist(),
            rows.groups(),
            **given,
        )
