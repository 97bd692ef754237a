"""How every measure ranks trained networks by their generalization gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import asin, pi

import numpy as np

from orchestrator.reporting.data.grid_axes import grid_axes
from orchestrator.reporting.data.network_queries import (
    MEASURE_COLUMNS,
    STANDARD_ERRORS_OF_TRAINED,
    ranked_networks,
)
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics import (
    Estimate,
    Grid,
    NoiseCeiling,
    benjamini_hochberg,
    holm,
    kendall,
    measure_reliability,
    noise_ceiling,
)
from orchestrator.statistics.intervals.estimate import FloatArray

GAPS = {"loss_gap": "loss gap", "error_gap": "error gap"}
FEWEST_NETWORKS = 6
MOST_PREDICTORS = 40


@dataclass(frozen=True)
class Predictor:
    """A measure of trained networks.

    Attributes:
        column: Its column in ``wide``.
        family: Its family in the catalog.
        sign: +1 if higher values should go with larger gaps, −1 if with smaller ones.
        directed: Whether either is expected of it; ``sign`` is +1 where not.
    """

    column: str
    family: str
    sign: int
    directed: bool = True


@dataclass(frozen=True)
class Ranking:
    """Kendall's τ_b of a measure and a gap, with the sign the measure has.

    Attributes:
        predictor: The measure.
        gap: Which gap.
        tau: τ_b over trained networks.
        holm: p-value adjusted by Holm over all measures and both gaps; None without one.
        fdr: The same by Benjamini and Hochberg.
    """

    predictor: Predictor
    gap: str
    tau: Estimate
    holm: float | None
    fdr: float | None


@dataclass(frozen=True)
class Trained:
    """The trained networks of a study, with everything to rank them by.

    Attributes:
        query: Where the rows come from.
        rows: One a network.
        predictors: Measures that vary over them, at most ``MOST_PREDICTORS``.
        more: Measures beyond that many, left out.
        axes: Axis of the grid on which they differ → the level of each.
        reliability: Measure → share of its variance that is not its own estimation error; only
            measures that are estimated.
    """

    query: Query
    rows: Rows
    predictors: tuple[Predictor, ...]
    more: int
    axes: Mapping[str, tuple[str, ...]]
    reliability: Mapping[str, float]

    @property
    def grid(self) -> Grid | None:
        """The grid they lie on; None if it has no axis or does not tell all conditions apart."""
        if not self.axes:
            return None
        grid = Grid.of(self.axes)
        whole = len(grid.conditions) == len(set(self.rows["condition_id"]))
        return grid if whole else None


def trained_networks(source: Source) -> Trained:
    """Read them, and find out what can rank them.

    Measures on the test split say little of generalization and are left out, as are those that
    the catalog calls neutral. The user's own functions are in no catalog: nothing is expected of
    their values, which are shown nevertheless.
    """
    known = [
        Predictor(column, family, -1 if direction == "higher" else 1, direction is not None)
        for column, family, direction in source.rows(MEASURE_COLUMNS).tuples()
        if source.has(column)
    ]
    query = ranked_networks([one.column for one in known])
    rows = source.rows(query)
    varying = [one for one in known if _varies(rows.floats(one.column))]
    return Trained(
        query,
        rows,
        tuple(varying[:MOST_PREDICTORS]),
        len(varying) - len(varying[:MOST_PREDICTORS]),
        grid_axes(source.study, rows["params_json"]),
        _reliabilities(source),
    )


def _reliabilities(source: Source) -> dict[str, float]:
    estimates = source.rows(STANDARD_ERRORS_OF_TRAINED)
    values, errors = estimates.floats("value"), estimates.floats("standard_error")
    names = np.array(estimates["column_name"], dtype=object)
    found = {
        str(name): measure_reliability(values[names == name], errors[names == name])
        for name in dict.fromkeys(names.tolist())
    }
    return {name: share for name, share in found.items() if share is not None}


def rank(trained: Trained) -> list[Ranking]:
    """τ of every measure with both gaps, adjusted for how many they are."""
    groups = trained.rows.groups()
    found = [
        (one, gap, kendall(trained.rows.floats(one.column), trained.rows.floats(gap), groups))
        for one in trained.predictors
        for gap in GAPS
    ]
    p_values = [tau.p_value if tau.p_value is not None else np.nan for _, _, tau in found]
    adjusted = zip(holm(p_values), benjamini_hochberg(p_values), strict=True)
    return [
        Ranking(one, gap, tau, _known(strict), _known(fdr))
        for (one, gap, tau), (strict, fdr) in zip(found, adjusted, strict=True)
    ]


def ceilings(trained: Trained) -> dict[str, NoiseCeiling]:
    """What seeds leave of each gap to be explained."""
    conditions: Sequence[str] = trained.rows["condition_id"]
    return {gap: noise_ceiling(trained.rows.floats(gap), conditions) for gap in GAPS}


def as_tau(correlation: float) -> float:
    """The τ that goes with an r where both are normal: 2/π · arcsin r (Greiner)."""
    return 2 / pi * asin(min(1.0, max(-1.0, correlation)))


def _varies(values: FloatArray) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) >= FEWEST_NETWORKS and bool(finite.min() < finite.max())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
