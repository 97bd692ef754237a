"""Which steps get a snapshot, and why."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.errors import UserError
from orchestrator.study.positions import planned_steps
from orchestrator.study.spec import CheckpointOptions, Every, LogSpaced, Positions


class Grounds(NamedTuple):
    """Why a step gets a snapshot.

    Attributes:
        reasons: One or more of ``epoch``, ``update``, ``train_loss 0.1`` and ``final``.
        milestones: The train-loss milestones reached at the step, highest first.
    """

    reasons: tuple[str, ...]
    milestones: tuple[float, ...]


@dataclass(frozen=True)
class SnapshotPlan:
    """When a trial takes snapshots, besides that of its final network.

    Attributes:
        epochs: Epochs that end with a snapshot; 0 is before the first update.
        updates: Steps with a snapshot.
        train_losses: Milestones, highest first.
    """

    epochs: Collection[int]
    updates: Collection[int]
    train_losses: tuple[float, ...]

    @classmethod
    def of(
        cls, checkpoints: CheckpointOptions, last_epoch: float, last_step: float
    ) -> SnapshotPlan:
        """Return the plan of a trial that ends after an epoch and step, which may be infinite.

        Raises:
            UserError: If log-spaced positions need an end of training that is not known.
        """
        return cls(
            _planned(checkpoints.epochs, last_epoch, "epochs"),
            _planned(checkpoints.updates, last_step, "updates"),
            tuple(sorted(set(checkpoints.train_loss), reverse=True)),
        )

    def newly_reached(self, train_loss: float, lowest: float) -> list[float]:
        """Return the milestones reached in an epoch, highest first.

        Args:
            train_loss: Training loss at the end of the epoch.
            lowest: Lowest training loss at the end of any earlier epoch.
        """
        return [target for target in self.train_losses if train_loss <= target < lowest]

    def of_epoch(
        self, epoch: int, steps: range, reached: Mapping[float, int], *, whole: bool, final: bool
    ) -> dict[int, Grounds]:
        """Return the steps of an epoch that get a snapshot, in order.

        Args:
            epoch: The epoch; 0 has only step 0.
            steps: Its steps up to the last one that counts, at which training may have ended.
            reached: Milestone → the step that reached it, highest milestone first.
            whole: Whether the last step is the end of the whole epoch.
            final: Whether training ends at the last step.
        """
        reasons: dict[int, list[str]] = defaultdict(list)
        if whole and epoch in self.epochs:
            reasons[steps[-1]].append("epoch")
        for step in steps:
            if step in self.updates:
                reasons[step].append("update")
        for target, step in reached.items():
            reasons[step].append(f"train_loss {target:g}")
        if final:
            reasons[steps[-1]].append("final")
        return {
            step: Grounds(tuple(why), tuple(target for target, at in reached.items() if at == step))
            for step, why in sorted(reasons.items())
        }


def _planned(positions: Positions, end: float, key: str) -> Collection[int]:
    if isinstance(positions, LogSpaced) and end == math.inf:
        raise UserError(
            f"checkpoints.{key}: log_spaced needs a known end of training: stop.epochs or "
            "stop.updates",
            f"set one of them, or list the {key}",
        )
    bound = sys.maxsize - 1 if end == math.inf else int(end)
    if isinstance(positions, Every):  # A range, as training may be unbounded.
        return range(positions.every, bound + 1, positions.every)
    return frozenset(planned_steps(positions, bound))
