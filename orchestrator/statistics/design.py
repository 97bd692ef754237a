"""How the conditions of a study were chosen, and so how far its verdicts reach.

A condition speaks of others only if it could have been another one. Conditions drawn at random
speak of all that could have been drawn. The cells of a grid share levels, so each axis counts as
many draws as it has levels; an axis of two levels cannot be generalized over at all. A grid whose
axes all have six or more evenly spaced levels covers its range like a ruler.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.statistics.bootstrap import Groups
from orchestrator.statistics.estimate import FloatArray, IntArray
from orchestrator.statistics.order import ordered_codes

Scope = Literal["in this grid", "for conditions like these", "within the range of this grid"]
"""What a verdict speaks of; each includes the first."""

FEWEST_CONDITIONS = 6
"""Below these a verdict speaks of this grid only: an interval over fewer finds next to nothing."""

FEWEST_LEVELS = 3
FEWEST_EVEN_LEVELS = 6
_EVEN = 1.25  # Largest step over smallest: 0.01, 0.03, 0.1 counts as even on a logarithmic scale.


@dataclass(frozen=True)
class Axis:
    """A swept hyperparameter, or several that were swept together.

    Attributes:
        name: What a reader calls it, ``batch size``.
        level: Shape (conditions,), the number of its level in each condition.
        value: Shape (conditions,), its level as a number; NaN where it is none.
    """

    name: str
    level: IntArray
    value: FloatArray

    def even(self, conditions: IntArray) -> bool:
        """Whether its levels in these conditions are six or more with even steps."""
        levels = np.unique(self.value[conditions])
        if len(levels) < FEWEST_EVEN_LEVELS or not np.isfinite(levels).all():
            return False
        scales = [levels, np.log(levels)] if levels[0] > 0 else [levels]
        steps = [np.diff(scale) for scale in scales]
        return any(step.max() <= _EVEN * step.min() for step in steps)


@dataclass(frozen=True)
class Reach:
    """How far verdicts over some conditions reach.

    Attributes:
        scope: What they speak of.
        axes: For each axis whose levels are left out one at a time: shape (conditions,), the
            level of each condition. Empty where leaving out conditions is enough.
        note: What the scope is qualified by, or why it is no wider; a sentence, or "".
    """

    scope: Scope
    axes: tuple[IntArray, ...]
    note: str


@dataclass(frozen=True)
class Design:
    """The axes along which conditions differ.

    Attributes:
        axes: The axes of a grid. All hyperparameters that were drawn at random together are one
            more axis, whose levels are the draws.
        drawn: Name of that axis, or "" if nothing was drawn.
    """

    axes: tuple[Axis, ...] = ()
    drawn: str = ""

    @classmethod
    def of(
        cls,
        levels: Mapping[str, Sequence[object]],
        groups: Groups,
        drawn: Collection[str] = (),
    ) -> Design:
        """Read the design off the rows.

        Args:
            levels: Name of each swept axis → its level in each row, numbers or any labels.
            groups: The trial and condition of each row; the design holds for any selection of it.
            drawn: Which of the axes were drawn at random.
        """
        conditions = groups.condition[groups.trial]
        first = np.zeros(int(groups.condition.max(initial=-1)) + 1, dtype=np.int64)
        first[conditions[::-1]] = np.arange(len(conditions))[::-1]
        columns = {name: [column[row] for row in first.tolist()] for name, column in levels.items()}
        axes = [
            Axis(name, ordered_codes(column)[1], np.array([_number(one) for one in column]))
            for name, column in columns.items()
            if name not in drawn
        ]
        together = [name for name in columns if name in drawn]
        if not together:
            return cls(tuple(axes))
        name = ", ".join(together)
        labels = list(zip(*(columns[one] for one in together), strict=True))
        nothing = np.full(len(labels), np.nan)
        return cls((*axes, Axis(name, ordered_codes(labels)[1], nothing)), name)

    @classmethod
    def drawn_one_by_one(cls, groups: Groups) -> Design:
        """Conditions of a random search: each is a draw of its own."""
        conditions = np.arange(int(groups.condition.max(initial=-1)) + 1)
        draws = Axis("draw", conditions, np.full(len(conditions), np.nan))
        return cls((draws,), draws.name)

    def reach(self, conditions: IntArray) -> Reach:
        """How far a verdict over these conditions reaches.

        Args:
            conditions: Shape (c,), numbers of conditions, each once.
        """
        few = len(conditions) < FEWEST_CONDITIONS
        counts = {axis.name: len(np.unique(axis.level[conditions])) for axis in self.axes}
        varied = [axis for axis in self.axes if counts[axis.name] > 1]
        usable = [axis for axis in varied if counts[axis.name] >= FEWEST_LEVELS]
        if few or not usable:
            lack = (
                f"{len(conditions)} of at least {FEWEST_CONDITIONS} conditions"
                if few
                else f"no swept axis with {FEWEST_LEVELS} or more levels"
            )
            return Reach("in this grid", (), f"It speaks of this grid alone: there are {lack}.")
        pairs = [axis.name for axis in varied if counts[axis.name] < FEWEST_LEVELS]
        note = f"It speaks of these two levels only of: {', '.join(pairs)}." if pairs else ""
        if all(axis.even(conditions) for axis in varied):
            return Reach("within the range of this grid", (), note)
        levels = tuple(axis.level[conditions] for axis in usable)
        return Reach("for conditions like these", levels, note)


def _number(level: object) -> float:
    try:
        return float(level)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan
