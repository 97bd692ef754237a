"""Kendall's τ within many groups simultaneously, from the pairs of points in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.statistics.intervals.estimate import BoolArray, FloatArray, IntArray

Variant = Literal["a", "b"]
"""Of Kendall's τ: ``a`` counts ties as 0, ``b`` corrects for them."""

_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Pairs:
    """All pairs of points that share a group.

    Attributes:
        first: Shape (pairs,), one point of each pair.
        second: Shape (pairs,), the other point.
        starts: Shape (groups,), index of the first pair of each group with at least two points.
        members: The points of each such group.
        single: Number of groups with one point.
    """

    first: IntArray
    second: IntArray
    starts: IntArray
    members: tuple[IntArray, ...]
    single: int

    @classmethod
    def within(cls, group: IntArray) -> Pairs:
        """Pair up the points of each group.

        Args:
            group: Shape (points,), the group of each point, any numbers.
        """
        order = np.argsort(group, kind="stable")
        _, starts = np.unique(group[order], return_index=True)
        blocks = np.split(order, starts[1:]) if len(order) else []
        several = tuple(block for block in blocks if len(block) > 1)
        inside = [np.triu_indices(len(block), 1) for block in several]
        sizes = [len(rows) for rows, _ in inside]
        empty = [np.zeros(0, dtype=np.int64)]
        first = [block[rows] for block, (rows, _) in zip(several, inside, strict=True)]
        second = [block[columns] for block, (_, columns) in zip(several, inside, strict=True)]
        return cls(
            np.concatenate(first or empty),
            np.concatenate(second or empty),
            np.cumsum([0, *sizes])[:-1].astype(np.int64),
            several,
            len(blocks) - len(several),
        )

    @property
    def points(self) -> int:
        """Number of points in groups of at least two."""
        return sum(len(block) for block in self.members)

    def constant(self, x: FloatArray, y: FloatArray) -> BoolArray:
        """Return which groups have a single value of ``x`` or ``y``, each of shape (points,)."""

        def same(values: FloatArray) -> bool:
            return bool(values.min() == values.max())

        return np.array(
            [same(x[block]) or same(y[block]) for block in self.members], dtype=np.bool_
        )

    def taus(
        self, x: FloatArray, y: FloatArray, weights: FloatArray, variant: Variant
    ) -> FloatArray:
        """Return τ of every group for each row.

        Args:
            x: Shape (r, points).
            y: Shape (r, points).
            weights: Shape (r, points), the weight of each point; a pair's weight is the product.
            variant: ``a``, which counts ties as 0, or ``b``, which corrects for ties.

        Returns:
            Shape (r, groups); NaN if no pair counts or, with ``b``, all pairs are tied.
        """
        if not len(self.starts):
            return np.zeros((len(x), 0))
        step = max(1, _CELLS_AT_ONCE // len(self.first))
        if len(x) > step:
            blocks = [slice(start, start + step) for start in range(0, len(x), step)]
            return np.concatenate(
                [self.taus(x[rows], y[rows], weights[rows], variant) for rows in blocks]
            )
        sign_x = np.sign(x[:, self.first] - x[:, self.second])
        sign_y = np.sign(y[:, self.first] - y[:, self.second])
        weight = weights[:, self.first] * weights[:, self.second]

        def per_group(of_pairs: FloatArray) -> FloatArray:
            total: FloatArray = np.add.reduceat(of_pairs, self.starts, axis=1)
            return total

        if variant == "a":
            scale = per_group(weight)
        else:
            untied = per_group(weight * np.abs(sign_x)) * per_group(weight * np.abs(sign_y))
            scale = np.sqrt(untied)
        agreement = per_group(weight * sign_x * sign_y)
        return np.where(scale > 0, agreement / np.where(scale > 0, scale, 1), np.nan)
