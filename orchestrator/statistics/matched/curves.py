"""Values along training, compared where several trials can be: at matched times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.intervals.estimate import FloatArray, IntArray


@dataclass(frozen=True)
class Curves:
    """What was measured along the training of several trials.

    Attributes:
        trial: Shape (n,), from 0: whose value it is.
        time: Shape (n,): updates or epochs.
        value: Shape (n,): what was measured then. Rows that are not finite don't count.
    """

    trial: IntArray
    time: FloatArray
    value: FloatArray

    def of(self, trial: int) -> tuple[FloatArray, FloatArray]:
        """Times and values of one trial in order of time, finite and after the start."""
        rows = (self.trial == trial) & np.isfinite(self.value) & (self.time > 0)
        time, first = np.unique(self.time[rows], return_index=True)
        return time, self.value[rows][first]

    def covered(self, trials: IntArray) -> tuple[float, float] | None:
        """First and last time at which every one of ``trials`` is covered; None if never.

        A time is covered from a trial's first measured snapshot to its last.
        """
        times = [self.of(int(trial))[0] for trial in trials]
        if not times or any(len(time) == 0 for time in times):
            return None
        first, last = max(time[0] for time in times), min(time[-1] for time in times)
        return (float(first), float(last)) if first <= last else None

    def at(self, points: FloatArray, trials: IntArray) -> FloatArray:
        """Values interpolated linearly in the logarithm of time.

        Args:
            points: Shape (m,), times above 0.
            trials: Shape (t,), which trials.

        Returns:
            Shape (t, m); NaN outside of what a trial covers. At a snapshot's own time it is
            the snapshot's own value.
        """
        table = np.full((len(trials), len(points)), np.nan)
        for row, trial in enumerate(trials):
            time, value = self.of(int(trial))
            if len(time):
                inside = (points >= time[0]) & (points <= time[-1])
                table[row, inside] = np.interp(np.log(points[inside]), np.log(time), value)
        return table


def log_spaced(first: float, last: float, count: int) -> FloatArray:
    """``count`` times from ``first`` to ``last``, both exact, equally far apart in logarithm."""
    points: FloatArray = np.geomspace(first, last, count) if last > first else np.array([first])
    points[0], points[-1] = first, last
    return points
