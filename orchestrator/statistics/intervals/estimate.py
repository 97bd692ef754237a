"""A number with its uncertainty, and the count of everything left out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """One statistic, its interval, and the rows behind it.

    Attributes:
        value: The statistic over all rows used, or None if undefined.
        low: Lower end of the interval, or None without an interval.
        high: Upper end of the interval, or None without an interval.
        level: Confidence level of the interval, for example 0.95.
        n: Number of rows used.
        n_groups: Number of independent groups (trials) that the rows come from.
        n_excluded: Number of rows given but not used, because a value was not finite.
        reason: Why the value or the interval is missing, or "".
        p_value: Two-sided p-value of the statistic being 0, from the same resamples and on the
            same scale as the interval: it is below 1 − ``level`` if the interval excludes 0.
            None if 0 is not a hypothesis of interest, without an interval, and if resamples do
            not vary.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    n_groups: int
    n_excluded: int
    reason: str = ""
    p_value: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return self.low is not None and self.high is not None


def all_finite(*columns: FloatArray) -> BoolArray:
    """Return which rows are finite in every one of ``columns``, each of shape (n,) or (n, k)."""
    parts = [np.isfinite(column).all(axis=tuple(range(1, column.ndim))) for column in columns]
    kept: BoolArray = np.logical_and.reduce(parts)
    return kept


def positive_log10(values: FloatArray) -> FloatArray:
    """Return the decimal logarithm; NaN where the value is not positive or not finite."""
    positive = np.isfinite(values) & (values > 0)
    return np.where(positive, np.log10(np.where(positive, values, 1)), np.nan)
