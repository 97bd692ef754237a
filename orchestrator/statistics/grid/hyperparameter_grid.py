"""The grid of hyperparameters that trials were drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.association.order import row_order
from orchestrator.statistics.intervals.estimate import BoolArray, IntArray
from orchestrator.statistics.intervals.variance import level_codes


@dataclass(frozen=True)
class Grid:
    """Which level of each hyperparameter each row has; an axis is one hyperparameter.

    Rows with the same level of every axis are repetitions (seeds) of one condition.

    Attributes:
        axes: Names of the hyperparameters.
        levels: Levels of each axis, in the order in which rows show them.
        codes: Shape (n, axes), the place of each row's level in ``levels``.
    """

    axes: tuple[str, ...]
    levels: tuple[tuple[object, ...], ...]
    codes: IntArray

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[object]]) -> Grid:
        """Read the grid off the rows.

        Args:
            columns: Name of each hyperparameter → its level in each row, any hashable labels.

        Raises:
            ValueError: If there is no axis, or the columns differ in length.
        """
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"a grid needs columns of one length, got lengths {sorted(lengths)}")
        levels = tuple(tuple(dict.fromkeys(column)) for column in columns.values())
        codes = np.stack([level_codes(column) for column in columns.values()], axis=1)
        return cls(tuple(columns), levels, codes)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.codes)

    @property
    def condition(self) -> IntArray:
        """Shape (n,), the condition of each row, from 0 in lexical order of the codes."""
        return _numbered(self.codes)

    @property
    def conditions(self) -> IntArray:
        """Shape (conditions, axes), the codes of each condition, in the order of its number."""
        return np.unique(self.codes, axis=0)

    @property
    def n_missing(self) -> int:
        """Combinations of levels that no row has; 0 if the grid is complete."""
        return math.prod(len(levels) for levels in self.levels) - len(self.conditions)

    @property
    def varying(self) -> tuple[int, ...]:
        """Places of the axes with at least two levels."""
        return tuple(place for place, levels in enumerate(self.levels) if len(levels) > 1)

    def order(self, *further: Sequence[object]) -> IntArray:
        """Places of the rows sorted by their levels, then by further labels (``order``)."""
        columns = (
            [levels[code] for code in self.codes[:, place]]
            for place, levels in enumerate(self.levels)
        )
        return row_order(*columns, *further)

    def select(self, rows: BoolArray | IntArray) -> Grid:
        """Keep some rows, or put them in another order, with the levels that they have."""
        kept = self.codes[rows]
        columns = {
            axis: [levels[code] for code in kept[:, place]]
            for place, (axis, levels) in enumerate(zip(self.axes, self.levels, strict=True))
        }
        return Grid.of(columns)

    def label(self, codes: IntArray) -> dict[str, object]:
        """The level of each axis, by name, of one row of codes."""
        return {
            axis: levels[code]
            for axis, levels, code in zip(self.axes, self.levels, codes.tolist(), strict=True)
        }


def lines(codes: IntArray, axis: int) -> IntArray:
    """Number the groups of rows that have everything but one axis in common.

    Args:
        codes: Shape (n, axes).
        axis: Place of the axis that may differ.

    Returns:
        Shape (n,), from 0.
    """
    return _numbered(np.delete(codes, axis, axis=1))


def _numbered(codes: IntArray) -> IntArray:
    _, number = np.unique(codes, axis=0, return_inverse=True)
    return number.astype(np.int64).reshape(-1)
