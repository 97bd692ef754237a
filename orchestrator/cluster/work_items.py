"""Work items: what processes are asked to train, measure, audit and compare, and their answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.study.resource_options import TrialResources
from orchestrator.study.spec import TrialConfig


@dataclass(frozen=True)
class TrialItem:
    """All that a process needs to train one trial.

    Attributes:
        trial_id: The trial's name.
        seed: Its seed.
        config: Its configuration.
        columns: Its hyperparameters, as columns of the table ``trials``.
        attempt: How often it had been started before this run.
        needs: What its process may use.
    """

    trial_id: str
    seed: int
    config: TrialConfig
    columns: dict[str, Any]
    attempt: int
    needs: TrialResources


@dataclass(frozen=True)
class MeasureItem:
    """One snapshot and the requests that its rows are missing for.

    Attributes:
        checkpoint: The snapshot's row of the table ``checkpoints``.
        seed: Seed of its trial; rebuilds the network as it was initialized, and is the seed of
            the random numbers that differ between trials.
        config: The trial's configuration.
        requests: Canonical requests, as :attr:`Study.requests` names them.
        attempts: How often a measurer was lost over it.
        unchecked: Why the trust checks of its network are not to be made, if so.
    """

    checkpoint: dict[str, Any]
    seed: int
    config: TrialConfig
    requests: tuple[str, ...]
    attempts: int = 0
    unchecked: str | None = None

    @property
    def checkpoint_id(self) -> str:
        """The snapshot's name."""
        return str(self.checkpoint["checkpoint_id"])


@dataclass(frozen=True)
class AuditItem:
    """One snapshot to be audited.

    Attributes:
        checkpoint: Its row of the table ``checkpoints``.
        seed: Seed of its trial.
        config: The trial's configuration.
    """

    checkpoint: Mapping[str, Any]
    seed: int
    config: TrialConfig


@dataclass(frozen=True)
class PairItem:
    """Two snapshots of one condition, of different seeds, to be connected by a line.

    Attributes:
        condition_id: The condition.
        config: The configuration of its trials.
        one: Row of the table ``checkpoints``.
        other: Row of the table ``checkpoints``.
    """

    condition_id: str
    config: TrialConfig
    one: Mapping[str, Any]
    other: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Both snapshots."""
        return f"{self.one['checkpoint_id']}-{self.other['checkpoint_id']}"


Refusal = tuple[str, str | None]
"""Message and hint of the error with which a network is refused."""


@dataclass(frozen=True)
class Checked:
    """What a measurer says of a shape.

    Attributes:
        refusal: Why networks of this shape must not be trained, if so.
        spoilt: What the network left in the process that cannot be reset, if anything.
        unmade: Why the checks could not be made, if so.
    """

    refusal: Refusal | None = None
    spoilt: str | None = None
    unmade: str | None = None


@dataclass(frozen=True)
class MeasureFailure:
    """A request that failed on a snapshot, or several that were given up together.

    Attributes:
        trial_id: The snapshot's trial.
        checkpoint_id: The snapshot.
        reason: Request and reason.
    """

    trial_id: str
    checkpoint_id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.checkpoint_id}: {self.reason}"


@dataclass(frozen=True)
class Measured:
    """What came of one work item.

    Attributes:
        checkpoint_id: The snapshot.
        rows: How many rows there are of it now.
        failures: The requests that failed, and why.
        pid: The process that measured.
        lost: Whether the snapshot was damaged or gone, and has to be taken again.
        spoilt: What was done to the process that cannot be undone, if anything: it must not
            measure anything else.
    """

    checkpoint_id: str
    rows: int
    failures: tuple[str, ...]
    pid: int
    lost: bool = False
    spoilt: str | None = None


def part_name(item: MeasureItem) -> str:
    """Name of the work item's part: a retry writes over what an earlier attempt wrote."""
    digest = hashlib.sha256("\n".join(item.requests).encode()).hexdigest()[:8]
    return f"{item.checkpoint_id}-{digest}"
