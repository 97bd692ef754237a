"""The grid of hyperparameters from which trials were drawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from orchestrator.statistics.association.order import row_order
from orchestrator.statistics.intervals.estimate import BoolArray, IntArray
from orchestrator.statistics.intervals.variance import level_codes


@dataclass(frozen=True)
class Grid:
    """The level of each hyperparameter in each row; an axis is one hyperparameter.

    Rows with the same level of every axis are repetitions (seeds) of one condition.

    Attributes:
        axes: Names of the hyperparameters.
        levels: Levels of each axis, in order of appearance.
        codes: Shape (n, axes), the index of each row's level in ``levels``.
        joint: Axes that stand for several hyperparameters drawn at random together. Two of their
            levels differ in all of these, so conditions are not compared along them.
    """

    axes: tuple[str, ...]
    levels: tuple[tuple[object, ...], ...]
    codes: IntArray
    joint: frozenset[str] = frozenset()

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[object]], joint: Collection[str] = ()) -> Grid:
        """Derive the grid from the rows.

        Args:
            columns: Name of each hyperparameter → its level in each row, any hashable labels.
            joint: As in the attribute; names that are no axis are ignored.

        Raises:
            ValueError: If ``columns`` is empty, or the columns differ in length.
        """
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"a grid needs columns of one length, got lengths {sorted(lengths)}")
        levels = tuple(tuple(dict.fromkeys(column)) for column in columns.values())
        codes = np.stack([level_codes(column) for column in columns.values()], axis=1)
        return cls(tuple(columns), levels, codes, frozenset(joint) & frozenset(columns))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.codes)

    @cached_property
    def condition(self) -> IntArray:
        """The condition of each row, from 0 in lexicographic order of the codes: shape (n,)."""
        return _numbered(self.codes)

    @cached_property
    def conditions(self) -> IntArray:
        """The codes of each condition, in order of its number: shape (conditions, axes)."""
        return np.unique(self.codes, axis=0)

    @property
    def n_missing(self) -> int:
        """Number of level combinations without a row; 0 if the grid is complete."""
        return math.prod(len(levels) for levels in self.levels) - len(self.conditions)

    @property
    def varying(self) -> tuple[int, ...]:
        """Indices of the axes along which conditions are compared: single, of several levels."""
        return tuple(
            place
            for place, (axis, levels) in enumerate(zip(self.axes, self.levels, strict=True))
            if len(levels) > 1 and axis not in self.joint
        )

    def order(self, *further: Sequence[object]) -> IntArray:
        """Return row positions sorted by level, then by further labels (see ``row_order``)."""
        columns = (
            [levels[code] for code in self.codes[:, place]]
            for place, levels in enumerate(self.levels)
        )
        return row_order(*columns, *further)

    def select(self, rows: BoolArray | IntArray) -> Grid:
        """Keep some rows, or reorder them, with only the levels that occur."""
        kept = self.codes[rows]
        columns = {
            axis: [levels[code] for code in kept[:, place]]
            for place, (axis, levels) in enumerate(zip(self.axes, self.levels, strict=True))
        }
        return Grid.of(columns, self.joint)

    def label(self, codes: IntArray) -> dict[str, object]:
        """Return the level of each axis, by name, for one row of codes."""
        return {
            axis: levels[code]
            for axis, levels, code in zip(self.axes, self.levels, codes.tolist(), strict=True)
        }


def lines(codes: IntArray, axis: int) -> IntArray:
    """Number the groups of rows that agree on all axes but one.

    Args:
        codes: Shape (n, axes).
        axis: Index of the axis that may differ.

    Returns:
        Shape (n,), from 0.
    """
    return _numbered(np.delete(codes, axis, axis=1))


def _numbered(codes: IntArray) -> IntArray:
    _, number = np.unique(codes, axis=0, return_inverse=True)
    return number.astype(np.int64).reshape(-1)
