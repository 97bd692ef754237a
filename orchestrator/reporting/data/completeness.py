"""Progress of the study: the requested trials and measurements, and the finished ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.reporting.data.open_results import Source, claims_of
from orchestrator.reporting.data.queries import (
    MEASURED_REQUESTS,
    SNAPSHOT_COUNT,
    TRIAL_OUTCOMES,
    UNAUDITED,
    unaudited_networks,
)
from orchestrator.results import asked_requests, expected_trials
from orchestrator.statistics.claim import counted
from orchestrator.study.claim_options import claim_with_audits


@dataclass(frozen=True)
class Progress:
    """Counts of trials and of measures.

    Attributes:
        expected_trials: Number of trials in the grid.
        trials: Status → number of trials stored.
        stop_reasons: Stop reason → number of completed trials.
        snapshots: Number of snapshots to measure.
        asked: Request → number of snapshots that it applies to.
        unmeasured: Request → number of those snapshots without a result.
        unaudited: Text on missing audits, in a study with a claim about audits, or "".
    """

    expected_trials: int
    trials: Mapping[str, int]
    stop_reasons: Mapping[str, int]
    snapshots: int
    asked: Mapping[str, int]
    unmeasured: Mapping[str, int]
    unaudited: str = ""

    @property
    def completed(self) -> int:
        """Number of completed trials."""
        return self.trials.get("completed", 0)

    @property
    def failed(self) -> int:
        """Number of failed trials."""
        return self.trials.get("failed", 0)

    @property
    def outstanding(self) -> int:
        """Number of trials in the grid that are neither completed nor failed."""
        return max(0, self.expected_trials - self.completed - self.failed)

    @property
    def finished(self) -> bool:
        """Whether every trial has ended and no measurement or audit is missing."""
        missing = any(self.unmeasured.values())
        return not (self.outstanding or missing or self.unaudited)

    @property
    def missing(self) -> str:
        """What is missing, as part of a sentence; "" if the study is finished."""
        if self.finished:
            return ""
        parts = []
        if self.outstanding:
            ended = f"{self.completed} of {self.expected_trials} trials are completed"
            failed = f", {self.failed} failed" if self.failed else ""
            parts.append(ended + failed)
        missing = sum(self.unmeasured.values())
        if missing:
            parts.append(
                f"{missing:,} of {sum(self.asked.values()):,} snapshot measurements are missing"
            )
        if self.unaudited:
            parts.append(self.unaudited)
        return "; ".join(parts)


def read_progress(source: Source) -> Progress:
    """Count the stored results and compare them with the requests of the study."""
    trials: dict[str, int] = {}
    stop_reasons: dict[str, int] = {}
    for status, stop_reason, count in source.rows(TRIAL_OUTCOMES).tuples():
        trials[status] = trials.get(status, 0) + count
        if status == "completed":
            stop_reasons[stop_reason] = stop_reasons.get(stop_reason, 0) + count
    counts = source.rows(SNAPSHOT_COUNT)
    snapshots, final = counts["snapshots"][0], counts["final"][0]
    requests = asked_requests(source.study)
    asked = {request: snapshots if of_all else final for request, of_all in requests.items()}
    measured = dict.fromkeys(requests, 0)
    for request, of_snapshots, of_final in source.rows(MEASURED_REQUESTS).tuples():
        if request in requests:
            measured[request] = of_snapshots if requests[request] else of_final
    return Progress(
        expected_trials(source.study),
        trials,
        stop_reasons,
        snapshots,
        asked,
        {request: max(0, count - measured[request]) for request, count in asked.items()},
        _unaudited(source),
    )


def _unaudited(source: Source) -> str:
    claim = claim_with_audits(claims_of(source))
    if claim is None:
        return ""
    if claim.networks is None:
        conditions = source.rows(UNAUDITED)["conditions"][0]
        return f"{counted(conditions, 'condition')} without an audited network" * bool(conditions)
    networks = int(source.rows(unaudited_networks(claim.networks))["networks"][0])
    return f"{counted(networks, 'network')} without an audit" * bool(networks)
