"""How far the study is: what was to be trained and measured, and what has been."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from orchestrator.report.queries import MEASURED_REQUESTS, SNAPSHOT_COUNT, TRIAL_OUTCOMES
from orchestrator.report.source import Source
from orchestrator.study.spec import Study


@dataclass(frozen=True)
class Progress:
    """Counts of trials and of measures.

    Attributes:
        expected_trials: How many trials the grid has.
        trials: Status → number of trials stored.
        stop_reasons: Why completed trials stopped → number of trials.
        snapshots: How many snapshots there are to measure.
        unmeasured: Request → number of snapshots without any answer to it. None if the study
            names components that are not installed here, so its requests are unknown.
    """

    expected_trials: int
    trials: Mapping[str, int]
    stop_reasons: Mapping[str, int]
    snapshots: int
    unmeasured: Mapping[str, int] | None

    @property
    def completed(self) -> int:
        """Completed trials."""
        return self.trials.get("completed", 0)

    @property
    def failed(self) -> int:
        """Failed trials."""
        return self.trials.get("failed", 0)

    @property
    def outstanding(self) -> int:
        """Trials of the grid that are neither completed nor failed."""
        return max(0, self.expected_trials - self.completed - self.failed)

    @property
    def finished(self) -> bool:
        """Whether every trial has ended and every snapshot has an answer to every request."""
        return not self.outstanding and not any((self.unmeasured or {}).values())

    @property
    def sentence(self) -> str:
        """What is missing, or "" if the study is finished."""
        if self.finished:
            return ""
        parts = []
        if self.outstanding:
            ended = f"{self.completed} of {self.expected_trials} trials are completed"
            failed = f", {self.failed} failed" if self.failed else ""
            parts.append(ended + failed)
        missing = sum((self.unmeasured or {}).values())
        if missing:
            parts.append(
                f"{missing:,} of {len(self.unmeasured or {}) * self.snapshots:,} measurements of "
                "snapshots are missing"
            )
        return (
            f"This study is not finished: {'; '.join(parts)}. Everything below is preliminary. "
            "Run the study again to go on."
        )


def read_progress(source: Source) -> Progress:
    """Count what there is, and compare it with what the study asks for."""
    trials: dict[str, int] = {}
    stop_reasons: dict[str, int] = {}
    for status, stop_reason, count in source.rows(TRIAL_OUTCOMES).tuples():
        trials[status] = trials.get(status, 0) + count
        if status == "completed":
            stop_reasons[stop_reason] = stop_reasons.get(stop_reason, 0) + count
    snapshots = source.rows(SNAPSHOT_COUNT)["snapshots"][0]
    requests = _requests(source.study)
    unmeasured = None
    if requests is not None:
        measured = dict(source.rows(MEASURED_REQUESTS).tuples())
        unmeasured = {name: max(0, snapshots - measured.get(name, 0)) for name in requests}
    return Progress(expected_trials(source.study), trials, stop_reasons, snapshots, unmeasured)


def expected_trials(study: Mapping[str, Any]) -> int:
    """Number of trials of a resolved study: points of the grid times seeds."""
    seeds = study.get("seeds", 1)
    points = math.prod(len(values) for values in study.get("sweep", {}).values())
    return points * (seeds if isinstance(seeds, int) else len(seeds))


def _requests(study: Mapping[str, Any]) -> list[str] | None:
    try:
        return list(Study.model_validate(study).requests)
    except ValidationError:
        # A plug-in's component, on a machine without the plug-in: the report says so.
        return None
