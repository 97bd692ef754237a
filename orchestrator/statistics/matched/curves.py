"""Values along training, compared at times that several trials share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from orchestrator.statistics.intervals.estimate import FloatArray, IntArray


@dataclass(frozen=True)
class Curves:
    """Values measured along the training of several trials.

    Attributes:
        trial: Shape (n,), from 0: the trial of each value.
        time: Shape (n,): updates or epochs.
        value: Shape (n,): the value measured at that time. Non-finite rows do not count.
    """

    trial: IntArray
    time: FloatArray
    value: FloatArray

    def of(self, trial: int) -> tuple[FloatArray, FloatArray]:
        """Return times and values of one trial in order of time, finite and after the start."""
        rows, trials = self._in_order
        first, end = np.searchsorted(trials, [trial, trial + 1])
        return self.time[rows[first:end]], self.value[rows[first:end]]

    @cached_property
    def _in_order(self) -> tuple[IntArray, IntArray]:
        """Return the rows that count, by trial and time, and the trial of each."""
        rows = np.flatnonzero(np.isfinite(self.value) & (self.time > 0))
        rows = rows[np.lexsort([self.time[rows], self.trial[rows]])]
        trial, time = self.trial[rows], self.time[rows]
        # The first of several values at one time counts.
        new = np.r_[True, (trial[1:] != trial[:-1]) | (time[1:] != time[:-1])][: len(rows)]
        return rows[new], trial[new]

    def covered(self, trials: IntArray) -> tuple[float, float] | None:
        """Return the first and last time that every one of ``trials`` covers; None if none.

        A trial covers the time from its first measured snapshot to its last.
        """
        times = [self.of(int(trial))[0] for trial in trials]
        if not times or any(len(time) == 0 for time in times):
            return None
        first, last = max(time[0] for time in times), min(time[-1] for time in times)
        return (float(first), float(last)) if first <= last else None

    def at(self, points: FloatArray, trials: IntArray) -> FloatArray:
        """Interpolate values linearly in the logarithm of time.

        Args:
            points: Shape (m,), times above 0.
            trials: Shape (t,), trials to interpolate.

        Returns:
            Shape (t, m); NaN outside the time a trial covers. At the time of a snapshot, the
            value is that of the snapshot.
        """
        table = np.full((len(trials), len(points)), np.nan)
        for row, trial in enumerate(trials):
            time, value = self.of(int(trial))
            if len(time):
                inside = (points >= time[0]) & (points <= time[-1])
                table[row, inside] = np.interp(np.log(points[inside]), np.log(time), value)
        return table


def log_spaced(first: float, last: float, count: int) -> FloatArray:
    """Return ``count`` log-spaced times from ``first`` to ``last``, with both ends exact."""
    points: FloatArray = np.geomspace(first, last, count) if last > first else np.array([first])
    points[0], points[-1] = first, last
    return points
