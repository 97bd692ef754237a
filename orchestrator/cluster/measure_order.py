"""What a measurer is asked, and what it answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MeasureOrder:
    """One snapshot and the requests that its rows are missing for.

    Attributes:
        checkpoint: The snapshot's row of the table ``checkpoints``.
        seed: Seed of its trial; rebuilds the network as it was initialized, and is the seed of
            the random numbers that differ between trials.
        config: The trial's :class:`TrialConfig`, as JSON.
        requests: Canonical requests, as :attr:`Study.requests` names them.
        attempts: How often a measurer was lost over it.
        unchecked: Why the trust checks of its network are not to be made, if so.
    """

    checkpoint: dict[str, Any]
    seed: int
    config: str
    requests: tuple[str, ...]
    attempts: int = 0
    unchecked: str | None = None

    @property
    def checkpoint_id(self) -> str:
        """The snapshot's name."""
        return str(self.checkpoint["checkpoint_id"])


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
class Measured:
    """What came of one order.

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


def part_name(order: MeasureOrder) -> str:
    """Name of the order's part: a retry writes over what an earlier attempt wrote."""
    digest = hashlib.sha256("\n".join(order.requests).encode()).hexdigest()[:8]
    return f"{order.checkpoint_id}-{digest}"
