"""Work items for training, measuring, auditing and comparing, and the results of processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.study.resource_options import TrialResources
from orchestrator.study.spec import TrialConfig


@dataclass(frozen=True)
class TrialItem:
    """Everything a process needs to train one trial.

    Attributes:
        trial_id: Id of the trial.
        seed: Seed of the trial.
        config: Configuration of the trial.
        columns: Hyperparameters of the trial, as columns of the table ``trials``.
        attempt: Number of times the trial was started before this run.
        needs: Resources that its process may use.
    """

    trial_id: str
    seed: int
    config: TrialConfig
    columns: dict[str, Any]
    attempt: int
    needs: TrialResources


@dataclass(frozen=True)
class MeasureItem:
    """A snapshot and its requests that have no rows.

    Attributes:
        checkpoint: The snapshot's row in the table ``checkpoints``.
        seed: Seed of its trial; reproduces the network's initialization and seeds the random
            numbers that differ between trials.
        config: Configuration of its trial.
        requests: Canonical requests, as in :attr:`Study.requests`.
        attempts: Number of measurers that died or timed out on it.
        unchecked: Reason to skip the trust checks of its network, if any.
    """

    task: ClassVar = "measure"
    checkpoint: dict[str, Any]
    seed: int
    config: TrialConfig
    requests: tuple[str, ...]
    attempts: int = 0
    unchecked: str | None = None

    @property
    def checkpoint_id(self) -> str:
        """Id of the snapshot."""
        return str(self.checkpoint["checkpoint_id"])

    @property
    def trial_id(self) -> str:
        """Id of the snapshot's trial."""
        return str(self.checkpoint["trial_id"])

    @property
    def name(self) -> str:
        """Id of the snapshot."""
        return self.checkpoint_id

    def retried(self) -> list[MeasureItem]:
        """Return work items for another attempt, one per request: this isolates the failing one."""
        return [
            replace(self, requests=(request,), attempts=self.attempts + 1)
            for request in self.requests
        ]


@dataclass(frozen=True)
class AuditItem:
    """A snapshot to audit.

    Attributes:
        checkpoint: Its row in the table ``checkpoints``.
        seed: Seed of its trial.
        config: Configuration of its trial.
        measured: Its stored values, as rows of the table ``measures``.
        attempts: Number of measurers that died on it.
    """

    task: ClassVar = "audit"
    checkpoint: Mapping[str, Any]
    seed: int
    config: TrialConfig
    measured: tuple[Mapping[str, Any], ...] = ()
    attempts: int = 0

    @property
    def name(self) -> str:
        """Id of the snapshot."""
        return str(self.checkpoint["checkpoint_id"])

    @property
    def trial_id(self) -> str:
        """Id of the snapshot's trial."""
        return str(self.checkpoint["trial_id"])

    def retried(self) -> list[AuditItem]:
        """Return the work item for another attempt."""
        return [replace(self, attempts=self.attempts + 1)]


@dataclass(frozen=True)
class PairItem:
    """Two snapshots of one condition with different seeds, to be connected by a line.

    Attributes:
        condition_id: Id of the condition.
        config: Configuration of its trials.
        one: Row of the first snapshot in the table ``checkpoints``.
        other: Row of the second snapshot in the table ``checkpoints``.
        attempts: Number of measurers that died on it.
    """

    task: ClassVar = "connectivity"
    condition_id: str
    config: TrialConfig
    one: Mapping[str, Any]
    other: Mapping[str, Any]
    attempts: int = 0

    @property
    def name(self) -> str:
        """Ids of both snapshots, joined by a hyphen."""
        return f"{self.one['checkpoint_id']}-{self.other['checkpoint_id']}"

    @property
    def trial_id(self) -> str:
        """Id of the first snapshot's trial."""
        return str(self.one["trial_id"])

    def retried(self) -> list[PairItem]:
        """Return the work item for another attempt."""
        return [replace(self, attempts=self.attempts + 1)]


WorkItem = MeasureItem | AuditItem | PairItem
"""Something that a measurer does: its method ``task`` is called with the item."""


Refusal = tuple[str, str | None]
"""Message and hint of the error that refuses a network."""


@dataclass(frozen=True)
class Checked:
    """A measurer's answer after checking a shape.

    Attributes:
        refusal: Error that refuses to train networks of this shape, if any.
        spoilt: Change that the network made to the process and that cannot be reset, if any.
        unmade: Reason why the checks could not be completed, if any.
    """

    refusal: Refusal | None = None
    spoilt: str | None = None
    unmade: str | None = None


@dataclass(frozen=True)
class MeasureFailure:
    """A request that failed on a snapshot, or a work item that was given up.

    Attributes:
        trial_id: Id of the snapshot's trial.
        checkpoint_id: Id of the snapshot, or the name of the work item.
        reason: What failed and why.
        untrusted: Whether the network failed a trust check that the measure needs. Rows report
            this, and it is no reason to stop training.
    """

    trial_id: str
    checkpoint_id: str
    reason: str
    untrusted: bool = False

    def __str__(self) -> str:
        return f"{self.checkpoint_id}: {self.reason}"


@dataclass(frozen=True)
class Measured:
    """The result of one work item.

    Attributes:
        checkpoint_id: Name of the work item; of a measurement, the id of the snapshot.
        rows: Number of rows that were stored.
        failures: Requests that failed.
        pid: Id of the measuring process.
        lost: Whether the snapshot was damaged or missing and must be retaken.
        refused: Whether nothing was done, because the process was already spoilt.
        spoilt: Irreversible change to the process, if any; a changed process must not measure
            anything else.
    """

    checkpoint_id: str
    rows: int
    failures: tuple[MeasureFailure, ...]
    pid: int
    lost: bool = False
    refused: bool = False
    spoilt: str | None = None


def part_name(item: MeasureItem) -> str:
    """Return the name of the work item's part; a retry overwrites an earlier attempt's part."""
    digest = hashlib.sha256("\n".join(item.requests).encode()).hexdigest()[:8]
    return f"{item.checkpoint_id}-{digest}"
