"""The design of a study: how its conditions were chosen, and how far its verdicts generalize.

A condition represents others only if another one could have been chosen in its place. Conditions
drawn at random represent all that could have been drawn. The cells of a grid share levels, so each
axis counts as one draw per level; verdicts cannot generalize over an axis of two levels. A grid
whose axes all have six or more evenly spaced levels covers its range like a ruler.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.statistics.association.order import ordered_codes
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray

Scope = Literal["in this grid", "for conditions like these", "within the range of this grid"]
"""The conditions that a verdict covers; each scope includes the first."""

FEWEST_CONDITIONS = 6
"""With fewer, a verdict covers this grid only: an interval over so few has almost no power."""

FEWEST_LEVELS = 3
FEWEST_EVEN_LEVELS = 6
_EVEN = 1.25  # Largest step over smallest: 0.01, 0.03, 0.1 counts as even on a logarithmic scale.


@dataclass(frozen=True)
class Axis:
    """A swept hyperparameter, or several swept together.

    Attributes:
        name: Readable name, ``batch size``.
        level: Shape (conditions,), the index of its level in each condition.
        value: Shape (conditions,), its level as a number; NaN if not numeric.
        drawn: Whether its levels were drawn at random.
    """

    name: str
    level: IntArray
    value: FloatArray
    drawn: bool = False

    def even(self, conditions: IntArray) -> bool:
        """Return whether these conditions have six or more levels with even steps."""
        levels = np.unique(self.value[conditions])
        if len(levels) < FEWEST_EVEN_LEVELS or not np.isfinite(levels).all():
            return False
        scales = [levels, np.log(levels)] if levels[0] > 0 else [levels]
        steps = [np.diff(scale) for scale in scales]
        return any(step.max() <= _EVEN * step.min() for step in steps)


@dataclass(frozen=True)
class Reach:
    """Generalization of verdicts over some conditions.

    Attributes:
        scope: Conditions that the verdicts cover.
        axes: For each axis whose levels are left out one at a time: shape (conditions,), the
            level of each condition. Empty if leaving out conditions is enough.
        note: Qualification of the scope, or the reason it is not wider; a sentence, or "".
    """

    scope: Scope
    axes: tuple[IntArray, ...]
    note: str


@dataclass(frozen=True)
class Design:
    """The axes along which conditions differ; empty if they are unknown."""

    axes: tuple[Axis, ...] = ()

    @classmethod
    def of(
        cls,
        levels: Mapping[str, Sequence[object]],
        groups: Groups,
        drawn: Collection[str] = (),
    ) -> Design:
        """Derive the design from the rows.

        Args:
            levels: Name of each swept axis → its level in each row, numbers or any labels.
            groups: The trial and condition of each row; the design is valid for any selection.
            drawn: Names of the axes drawn at random.
        """
        conditions = groups.condition[groups.trial]
        first = np.zeros(int(groups.condition.max(initial=-1)) + 1, dtype=np.int64)
        first[conditions[::-1]] = np.arange(len(conditions))[::-1]
        columns = {name: [column[row] for row in first.tolist()] for name, column in levels.items()}
        return cls(
            tuple(
                Axis(
                    name,
                    ordered_codes(column)[1],
                    np.array([_number(one) for one in column]),
                    name in drawn,
                )
                for name, column in columns.items()
            )
        )

    @classmethod
    def drawn_one_by_one(cls, groups: Groups) -> Design:
        """Return the design of a random search, where each condition is a separate draw."""
        conditions = np.arange(int(groups.condition.max(initial=-1)) + 1)
        nothing = np.full(len(conditions), np.nan)
        return cls((Axis("draw", conditions, nothing, drawn=True),))

    def reach(self, conditions: IntArray, noun: str = "condition") -> Reach:
        """Return how far a verdict over these conditions generalizes.

        Args:
            conditions: Shape (c,), distinct condition numbers.
            noun: Noun for one condition in the note.
        """
        varied = [
            axis for axis in self._independent() if len(np.unique(axis.level[conditions])) > 1
        ]
        usable = [
            axis for axis in varied if len(np.unique(axis.level[conditions])) >= FEWEST_LEVELS
        ]
        few = len(conditions) < FEWEST_CONDITIONS
        if few or not usable:
            lack = (
                f"it has {len(conditions)} {_plural(noun, len(conditions))}, and generalizing "
                f"needs at least {FEWEST_CONDITIONS}"
                if few
                else f"no axis has {FEWEST_LEVELS} or more levels"
            )
            return Reach("in this grid", (), f"The verdict covers only this grid: {lack}.")
        pairs = [axis.name for axis in varied if not any(axis is one for one in usable)]
        note = (
            f"For these axes the verdict covers only the two levels tested: {', '.join(pairs)}."
            if pairs
            else ""
        )
        if all(axis.even(conditions) for axis in varied):
            return Reach("within the range of this grid", (), note)
        levels = tuple(axis.level[conditions] for axis in usable)
        return Reach("for conditions like these", levels, note)

    def settings(self, treatment: IntArray, conditions: IntArray) -> IntArray:
        """Group conditions that differ only in a treatment.

        An axis belongs to the treatment if conditions that agree on all other axes differ in the
        treatment. A condition's levels on the remaining axes are its setting.

        Args:
            treatment: Shape (conditions,), the treatment of every condition of the design.
            conditions: Shape (c,), numbers of the conditions to group.

        Returns:
            Shape (conditions,), the number of the first condition with the same setting;
            conditions outside ``conditions`` get their own number.
        """
        codes = np.array([axis.level[conditions] for axis in self.axes]).reshape(
            len(self.axes), len(conditions)
        )
        others = [
            place
            for place in range(len(codes))
            if not _differs(np.delete(codes, place, axis=0), treatment[conditions])
        ]
        number = _groups_of(codes[others], len(conditions))
        first = np.full(int(number.max(initial=-1)) + 1, -1)
        first[number[::-1]] = conditions[::-1]
        settings = np.arange(len(treatment))
        settings[conditions] = first[number]
        return settings

    def _independent(self) -> list[Axis]:
        """Return the axes of the grid, with all axes drawn at random merged into one."""
        drawn = [axis for axis in self.axes if axis.drawn]
        grid = [axis for axis in self.axes if not axis.drawn]
        if not drawn:
            return grid
        level = _groups_of(np.array([axis.level for axis in drawn]), len(drawn[0].level))
        name = ", ".join(axis.name for axis in drawn)
        return [*grid, Axis(name, level, np.full(len(level), np.nan), drawn=True)]


def _groups_of(codes: IntArray, size: int) -> IntArray:
    """Give equal columns of codes (axes, size) equal numbers; without axes all are equal."""
    if not len(codes):
        return np.zeros(size, dtype=np.int64)
    return np.asarray(np.unique(codes, axis=1, return_inverse=True)[1].reshape(-1), dtype=np.int64)


def _differs(codes: IntArray, treatment: IntArray) -> bool:
    """Return whether columns with equal codes have different treatments."""
    number = _groups_of(codes, len(treatment))
    pairs = {(int(one), int(other)) for one, other in zip(number, treatment, strict=True)}
    return len(pairs) > len(np.unique(number))


def _number(level: object) -> float:
    try:
        return float(level)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def _plural(noun: str, count: int) -> str:
    first, *rest = noun.split(" ")
    return " ".join([first + "s" * (count != 1), *rest])
