"""Statistics over conditions that a study's own claims can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from orchestrator.statistics.association.confounders import residuals
from orchestrator.statistics.claim import counted, number
from orchestrator.statistics.intervals.bootstrap import LEVEL, Groups
from orchestrator.statistics.intervals.estimate import (
    BoolArray,
    Estimate,
    FloatArray,
    IntArray,
    all_finite,
)
from orchestrator.statistics.intervals.inference import CORRELATIONS, PAIRS, Inference, infer
from orchestrator.statistics.intervals.median import median_of_conditions
from orchestrator.statistics.intervals.over_conditions import (
    correlation,
    mean_over,
    rank_correlation,
    tau,
)
from orchestrator.statistics.study_design import Design

FEWEST_ROWS = 3
_HELD = "a column is constant, or a linear function of the columns held fixed"
_UNDEFINED = {
    "pearson": _HELD,
    "spearman": _HELD,
    "kendall": "no two networks of different conditions differ in both columns",
}


@dataclass(frozen=True)
class Compared:
    """The numbers that a claim compares, and their trials and conditions.

    Attributes:
        table: Shape (d, n): x alone, or x, y and the columns held fixed.
        groups: The trial and condition of each row.
        stratum: Shape (n,), the stage of training at which rows are compared; None for any.
    """

    table: FloatArray
    groups: Groups
    stratum: IntArray | None = None

    @property
    def finite(self) -> BoolArray:
        """Rows in which all numbers are finite: shape (n,)."""
        return all_finite(*self.table)

    def select(self, rows: BoolArray) -> Compared:
        """Keep only some of the rows."""
        stratum = None if self.stratum is None else self.stratum[rows]
        return Compared(self.table[:, rows], self.groups.select(rows), stratum)


def infer_statistic(
    statistic: str,
    compared: Compared,
    design: Design,
    given: FloatArray | None = None,
    excluded: int = 0,
) -> Inference:
    """Infer one of the statistics that a claim can name.

    Args:
        statistic: ``pearson``, ``spearman``, ``kendall``, ``mean`` or ``median``.
        compared: Finite numbers.
        design: How conditions were chosen.
        given: Shape (k, n), further columns to hold fixed.
        excluded: Number of rows already left out.
    """
    table, groups, stratum = compared.table, compared.groups, compared.stratum
    n = table.shape[1]
    least = 1 if statistic in {"mean", "median"} else FEWEST_ROWS
    if n < least:
        few = f"{counted(n, 'row')}; a correlation needs at least {least}"
        reason = "no finite value" if least == 1 else few
        nothing = Estimate(None, None, None, LEVEL, n, groups.trials, excluded, reason)
        return Inference(nothing, "in this grid")
    if statistic == "median":
        found = median_of_conditions(table[0], groups, design)
        return replace(found, estimate=replace(found.estimate, n_excluded=excluded))
    if statistic == "mean":
        return infer(mean_over(table[0], groups), groups, design, rows=n, excluded=excluded)
    if statistic == "pearson":
        held = table if given is None else np.concatenate([table, given])
        of_weights = correlation(held, groups, stratum)
    else:
        pair = table[:2] if given is None else residuals(table[:2], given)
        of_weights = (
            tau(pair[0], pair[1], groups, stratum)
            if statistic == "kendall"
            else rank_correlation(pair, groups, stratum)
        )
    return infer(
        of_weights,
        groups,
        design,
        PAIRS if statistic == "kendall" else CORRELATIONS,
        rows=n,
        excluded=excluded,
        limits=(-1.0, 1.0),
        undefined=_UNDEFINED[statistic],
    )


def most_that_ties_allow(statistic: str, compared: Compared, names: Mapping[int, str]) -> str:
    """Return a sentence on the largest possible correlation if a column has only two values.

    Args:
        statistic: Only ``pearson`` and ``spearman`` have such a ceiling; others return "".
        compared: Finite numbers.
        names: Names of columns 0 and 1.
    """
    table = compared.table[:2]
    if statistic not in {"pearson", "spearman"} or table.shape[1] < FEWEST_ROWS:
        return ""
    two = [names[place] for place in (0, 1) if len(np.unique(table[place])) == 2]
    if not two:
        return ""
    columns = table
    if statistic == "spearman":
        columns = np.stack([stats.rankdata(column) for column in table])
    if np.ptp(columns, axis=1).min() <= 0:
        return ""
    ordered = np.sort(columns, axis=1)
    most = float(stats.pearsonr(ordered[0], ordered[1]).statistic)
    least = float(stats.pearsonr(ordered[0], ordered[1, ::-1]).statistic)
    return (
        f"With only two distinct values of {' and '.join(two)}, the correlation can only lie "
        f"between {number(least)} and {number(most)}, for any order of the rest."
    )
