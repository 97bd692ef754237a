"""Snapshots of different networks, matched by the stage of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray
from orchestrator.statistics.matched.curves import Curves, log_spaced

POINTS = 8
FEWEST_TRIALS = 3
FEWEST_CONDITIONS = 2


@dataclass(frozen=True)
class MatchedRows:
    """Values of networks at the same stages of training.

    Attributes:
        columns: Name → shape (n,).
        stratum: Shape (n,), the stage of each row, from 0.
        stages: The number of updates, epoch or loss of each stratum.
        groups: The trial and condition of each row.
        left_out: Number of stages with too few trials, or trials of only one condition.
    """

    columns: Mapping[str, FloatArray]
    stratum: IntArray
    stages: tuple[float, ...]
    groups: Groups
    left_out: int


def at_matched_times(
    columns: Mapping[str, FloatArray], time: FloatArray, groups: Groups, points: int = POINTS
) -> MatchedRows:
    """Interpolate every trial's values at the same log-spaced times.

    Between its first and last snapshot with a finite value, a trial is interpolated linearly in
    the logarithm of time. Times run from the first to the last snapshot of all trials. Times at
    which fewer than three trials, or fewer than two conditions, have all values are left out and
    counted.

    Args:
        columns: Name → shape (n,), one value per snapshot.
        time: Shape (n,), updates or epochs; snapshots at 0 do not count.
        groups: The trial and condition of each snapshot.
        points: Number of times.
    """
    started = time[time > 0]
    stages = np.zeros(0)
    if len(started):
        stages = log_spaced(float(started.min()), float(started.max()), points)
    trials = np.arange(groups.trials)
    tables = {
        name: Curves(groups.trial, time, column).at(stages, trials)
        for name, column in columns.items()
    }
    there = np.all([np.isfinite(table) for table in tables.values()], axis=0)
    trial, stage = np.nonzero(there)
    rows = {name: table[trial, stage] for name, table in tables.items()}
    return _compared(rows, stage, stages.tolist(), Groups(trial, groups.condition))


def at_matched_stages(
    columns: Mapping[str, FloatArray], stage: FloatArray, groups: Groups
) -> MatchedRows:
    """Match rows of the same stage: the train loss for which a snapshot was requested.

    Args:
        columns: Name → shape (n,); rows not finite in all of them do not count.
        stage: Shape (n,), the stage of each row.
        groups: The trial and condition of each row.
    """
    kept = np.all([np.isfinite(column) for column in columns.values()], axis=0)
    stages, stratum = np.unique(stage[kept], return_inverse=True)
    rows = {name: column[kept] for name, column in columns.items()}
    inner = Groups(groups.trial[kept], groups.condition)
    return _compared(rows, stratum, stages.tolist(), inner)


def _compared(
    columns: Mapping[str, FloatArray], stratum: IntArray, stages: list[float], groups: Groups
) -> MatchedRows:
    """Leave out strata with too little to compare."""
    condition = groups.condition[groups.trial]
    enough = [
        len(np.unique(groups.trial[stratum == one])) >= FEWEST_TRIALS
        and len(np.unique(condition[stratum == one])) >= FEWEST_CONDITIONS
        for one in range(len(stages))
    ]
    kept = np.array(enough, dtype=np.bool_)[stratum]
    numbers = np.cumsum(enough) - 1
    return MatchedRows(
        {name: column[kept] for name, column in columns.items()},
        numbers[stratum[kept]].astype(np.int64),
        tuple(float(one) for one, good in zip(stages, enough, strict=True) if good),
        groups.select(kept),
        len(stages) - sum(enough),
    )
