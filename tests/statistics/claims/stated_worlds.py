"""Simulated worlds of the claims that a study states itself: one statistic, one threshold.

Each says that its statistic lies below the threshold. The truth of fixed conditions is their
statistic over hundreds of seeds, that of drawn ones has a closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from orchestrator.statistics import Design
from orchestrator.statistics.claim import judge
from orchestrator.statistics.claims.stated_claim import Compared, infer_statistic
from tests.statistics.claims.worlds import (
    SHARE,
    Generator,
    World,
    grid_design,
    grouped,
    nested,
    pairs,
)

SEEDS, SNAPSHOTS = 3, 3
ENDLESS = 300
"""Seeds of a condition that stand for all seeds there are."""

OF_NORMAL: dict[str, Callable[[float], float]] = {
    "pearson": lambda r: r,
    "spearman": lambda r: 6 / np.pi * np.arcsin(r / 2),
    "kendall": lambda r: 2 / np.pi * np.arcsin(r),
}
"""Of two normal columns of correlation r (Kruskal 1958)."""


@dataclass(frozen=True)
class Judged:
    """A verdict alone."""

    verdict: Literal["holds", "fails", "unclear"]


def judged(statistic, table, groups, design, threshold):
    found = infer_statistic(statistic, Compared(table, groups), design)
    below, above = found.p_below(threshold), found.p_above(threshold)
    return Judged(judge(below, above)[0])


def correlated(statistic, conditions, r, edge, tail=None):
    """Conditions drawn at random; r between them and inside."""

    def draw(generator: Generator):
        groups = grouped(conditions, SEEDS, SNAPSHOTS)
        columns = nested(generator, conditions, SEEDS, SNAPSHOTS, r, r, tail=tail)
        threshold = OF_NORMAL[statistic](edge)
        table = columns.reshape(-1, 2).T
        return judged(statistic, table, groups, Design.drawn_one_by_one(groups), threshold)

    return draw


def correlated_on_grid(statistic, lengths, r):
    """A grid whose axes have effects of their own, 0.4 of the variance each."""

    def draw(generator: Generator):
        groups = grouped(int(np.prod(lengths)), SEEDS)
        y = np.sqrt(0.1) * pairs(generator, (*lengths, 1), r)
        y = y + np.sqrt(0.1) * pairs(generator, (*lengths, SEEDS), r)
        for axis in range(len(lengths)):
            shape = [n if place == axis else 1 for place, n in enumerate(lengths)]
            y = y + np.sqrt(0.4) * pairs(generator, (*shape, 1), r)
        table, design = y.reshape(-1, 2).T, grid_design(groups, *lengths)
        return judged(statistic, table, groups, design, OF_NORMAL[statistic](r))

    return draw


def one_column(statistic, conditions, edge, log=False):
    """Conditions drawn at random; 0 on average, or lognormal about a median of 1."""

    def draw(generator: Generator):
        groups = grouped(conditions, SEEDS, SNAPSHOTS)
        y = nested(generator, conditions, SEEDS, SNAPSHOTS, 0.0, 0.0)[..., 0].ravel()
        table = (np.exp(y) if log else y)[None]
        return judged(statistic, table, groups, Design.drawn_one_by_one(groups), edge)

    return draw


def one_column_on_grid(lengths):
    """Means over a grid whose axes have effects of their own; 0 on average."""

    def draw(generator: Generator):
        groups = grouped(int(np.prod(lengths)), SEEDS)
        y = np.sqrt(0.2) * generator.normal(size=(*lengths, SEEDS))
        for axis in range(len(lengths)):
            shape = [n if place == axis else 1 for place, n in enumerate(lengths)]
            y = y + np.sqrt(0.4) * generator.normal(size=(*shape, 1))
        return judged("mean", y.reshape(1, -1), groups, grid_design(groups, *lengths), 0.0)

    return draw


def in_this_grid(statistic, conditions):
    """Fixed conditions, and seeds without end for the truth."""
    fixed = pairs(np.random.default_rng(conditions), (conditions, 1, 1), -0.8)

    def study(generator: Generator, seeds: int):
        noise = nested(generator, 1, conditions * seeds, 1, 0.0, -0.8, share=0.0)
        noise = noise.reshape(conditions, seeds, 1, 2)
        columns = np.sqrt(SHARE) * fixed + np.sqrt(1 - SHARE) * noise
        table = columns.reshape(-1, 2).T
        return table if statistic in OF_NORMAL else table[:1]

    @cache
    def truth() -> float:
        groups = grouped(conditions, ENDLESS)
        compared = Compared(study(np.random.default_rng(0), ENDLESS), groups)
        return infer_statistic(statistic, compared, grid_design(groups, conditions)).estimate.value

    def draw(generator: Generator):
        groups = grouped(conditions, SEEDS)
        table = study(generator, SEEDS)
        return judged(statistic, table, groups, grid_design(groups, conditions), truth())

    return draw


def _correlations():
    for statistic in OF_NORMAL:
        claim = f"stated: {statistic}"
        yield World(claim, "edge, 6 drawn", None, correlated(statistic, 6, -0.8, -0.8))
        yield World(
            claim, "edge, 12 drawn", None, correlated(statistic, 12, -0.8, -0.8), sliced=True
        )
        yield World(claim, "edge 0, 12 drawn", None, correlated(statistic, 12, 0.0, 0.0))
        yield World(claim, "edge, 4 × 6 grid", None, correlated_on_grid(statistic, (4, 6), -0.8))
        yield World(claim, "edge, this grid of 4", None, in_this_grid(statistic, 4))
        yield World(claim, "r = −0.95, 12 drawn", True, correlated(statistic, 12, -0.95, -0.8), 0.5)
        power = 0.35 if statistic == "kendall" else 0.5
        weak = correlated(statistic, 12, -0.4, -0.8)
        yield World(claim, "r = −0.4, 12 drawn", False, weak, power)


def _averages():
    for statistic in ("mean", "median"):
        claim = f"stated: {statistic}"
        yield World(claim, "edge, 6 drawn", None, one_column(statistic, 6, 0.0))
        yield World(claim, "edge, 12 drawn", None, one_column(statistic, 12, 0.0), sliced=True)
        if statistic == "median":
            yield World(
                claim, "edge, 12 drawn, skewed", None, one_column(statistic, 12, 1.0, log=True)
            )
        else:
            yield World(claim, "edge, 4 × 6 grid", None, one_column_on_grid((4, 6)))
        yield World(claim, "edge, this grid of 4", None, in_this_grid(statistic, 4))
        yield World(claim, "one deviation below, 12 drawn", True, one_column(statistic, 12, 1), 0.6)


STATED = [*_correlations(), *_averages()]
