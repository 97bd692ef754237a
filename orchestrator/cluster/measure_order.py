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
    """

    checkpoint: dict[str, Any]
    seed: int
    config: str
    requests: tuple[str, ...]
    attempts: int = 0

    @property
    def checkpoint_id(self) -> str:
        """The snapshot's name."""
        return str(self.checkpoint["checkpoint_id"])


@dataclass(frozen=True)
class Measured:
    """What came of one order.

    Attributes:
        checkpoint_id: The snapshot.
        rows: How many rows there are of it now.
        failures: The requests that failed, and why.
        pid: The process that measured.
        lost: Whether the snapshot was damaged or gone, and has to be taken again.
    """

    checkpoint_id: str
    rows: int
    failures: tuple[str, ...]
    pid: int
    lost: bool = False


def part_name(order: MeasureOrder) -> str:
    """Name of the order's part: a retry writes over what an earlier attempt wrote."""
    digest = hashlib.sha256("\n".join(order.requests).encode()).hexdigest()[:8]
    return f"{order.checkpoint_id}-{digest}"
