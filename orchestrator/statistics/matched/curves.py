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
        rows, first, end = self._spans(trials)
        if not len(trials) or (first == end).any():
            return None
        begin, last = self.time[rows[first]].max(), self.time[rows[end - 1]].min()
        return (float(begin), float(last)) if begin <= last else None

    def _spans(self, trials: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Return the rows that count, and where those of each given trial begin and end."""
        rows, ordered = self._in_order
        return rows, np.searchsorted(ordered, trials), np.searchsorted(ordered, trials, "right")

    def at(self, points: FloatArray, trials: IntArray) -> FloatArray:
        """Interpolate values linearly in the logarithm of time.

        Args:
            points: Shape (m,), times above 0.
            trials: Shape (t,), trials to interpolate.

        Returns:
            Shape (t, m); NaN outside the time a trial covers. At the time of a snapshot, the
            value is that of the snapshot.
        """
        rows, first, end = self._spans(trials)
        table = np.full((len(trials), len(points)), np.nan)
        there = np.flatnonzero(end > first)
        sizes = (end - first)[there]
        if not len(there):
            return table
        # The rows of these trials, one trial after the other, and where each begins and ends.
        begin = np.cumsum(sizes) - sizes
        last = begin + sizes - 1
        kept = rows[np.repeat(first[there] - begin, sizes) + np.arange(sizes.sum())]
        time, value = self.time[kept], self.value[kept]
        log_time = np.log(time)
        for place, (point, log_point) in enumerate(zip(points, np.log(points), strict=True)):
            inside = (time[begin] <= point) & (point <= time[last])
            before = np.add.reduceat(log_time <= log_point, begin, dtype=np.int64)
            left = begin + np.maximum(before - 1, 0)
            right = np.minimum(left + 1, last)
            between = log_time[right] - log_time[left]
            share = (log_point - log_time[left]) / np.where(between > 0, between, 1)
            with np.errstate(over="ignore", invalid="ignore"):  # The difference may overflow.
                grown = value[left] + share * (value[right] - value[left])
            table[there, place] = np.where(inside, np.where(share > 0, grown, value[left]), np.nan)
        return table


def log_spaced(first: float, last: float, count: int) -> FloatArray:
    """Return ``count`` log-spaced times from ``first`` to ``last``, with both ends exact."""
    points: FloatArray = np.geomspace(first, last, count) if last > first else np.array([first])
    points[0], points[-1] = first, last
    return points
