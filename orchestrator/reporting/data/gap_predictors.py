"""Rankings of trained networks by their generalization gaps, for every measure."""

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
from orchestrator.study.design import design_axes

GAPS = {"loss_gap": "loss gap", "error_gap": "error gap"}
FEWEST_NETWORKS = 6
MOST_PREDICTORS = 40


@dataclass(frozen=True)
class Predictor:
    """A measure of trained networks.

    Attributes:
        column: Column of the measure in ``wide``.
        family: Family of the measure in the catalog.
        sign: +1 if higher values should go with larger gaps, −1 if with smaller ones.
        directed: Whether a direction is expected; if not, ``sign`` is +1.
    """

    column: str
    family: str
    sign: int
    directed: bool = True


@dataclass(frozen=True)
class Ranking:
    """Kendall's τ_b of a measure and a gap, for the values as measured (without ``sign``).

    Attributes:
        predictor: The measure.
        gap: Name of the gap.
        tau: τ_b over trained networks.
        holm: p-value adjusted by Holm's method over all measures and both gaps; None without one.
        fdr: The same, by the method of Benjamini and Hochberg.
    """

    predictor: Predictor
    gap: str
    tau: Estimate
    holm: float | None
    fdr: float | None


@dataclass(frozen=True)
class Trained:
    """The trained networks of a study, with all measures that can rank them.

    Attributes:
        query: Query behind the rows.
        rows: One row per network.
        predictors: Measures that vary over the networks, at most ``MOST_PREDICTORS``.
        more: Number of further measures, which are left out.
        axes: Axis of the grid on which the networks differ → level of each network.
        joint: Those of ``axes`` that stand for several hyperparameters drawn at random together.
        reliability: Measure → share of its variance that is not estimation error; only for
            estimated measures.
    """

    query: Query
    rows: Rows
    predictors: tuple[Predictor, ...]
    more: int
    axes: Mapping[str, tuple[str, ...]]
    joint: frozenset[str]
    reliability: Mapping[str, float]

    @property
    def grid(self) -> Grid | None:
        """Grid of the networks; None if it has no axis or does not separate all conditions."""
        if not self.axes:
            return None
        grid = Grid.of(self.axes, self.joint)
        whole = len(grid.conditions) == len(set(self.rows["condition_id"]))
        return grid if whole else None

    @property
    def why_no_single_difference(self) -> str:
        """Why no two conditions of a grid differ in one hyperparameter only, or ""."""
        if self.grid is None or self.grid.varying:
            return ""
        return (
            "All hyperparameters were drawn at random together, so no two conditions differ in one "
            "of them only."
        )


def trained_networks(source: Source) -> Trained:
    """Read the trained networks and the measures that can rank them.

    Measures on the test split say little about generalization and are left out, as are measures
    that the catalog calls neutral. User-defined functions are not in the catalog; they are
    included without an expected direction.
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
        frozenset(
            axis.title for axis in design_axes(source.study) if axis.drawn and len(axis.paths) > 1
        ),
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
    """Compute τ of every measure with both gaps; p-values are adjusted for their number."""
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
    """Compute the noise ceiling of each gap, which variation over seeds imposes."""
    conditions: Sequence[str] = trained.rows["condition_id"]
    return {gap: noise_ceiling(trained.rows.floats(gap), conditions) for gap in GAPS}


def as_tau(correlation: float) -> float:
    """Convert r to τ for two normal variables: 2/π · arcsin r (Greiner)."""
    return 2 / pi * asin(min(1.0, max(-1.0, correlation)))


def _varies(values: FloatArray) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) >= FEWEST_NETWORKS and bool(finite.min() < finite.max())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
