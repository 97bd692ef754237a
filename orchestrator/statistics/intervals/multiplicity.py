"""Multiple testing: p-values adjusted for the number of tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats

from orchestrator.statistics.intervals.bootstrap import as_floats
from orchestrator.statistics.intervals.estimate import FloatArray


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values to bound the probability of any false discovery.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 65–70. Valid for any dependence between the tests.

    Args:
        p_values: Any shape. NaN marks a test that could not be made; it stays NaN and does not
            count.

    Returns:
        The same shape; compare with the desired level.

    Raises:
        ValueError: If a p-value lies outside [0, 1].
    """
    return _adjusted(p_values, _holm)


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values to bound the expected share of false discoveries among discoveries.

    Benjamini and Hochberg 1995, "Controlling the false discovery rate", Journal of the Royal
    Statistical Society B 57, 289–300. Valid for independent tests and for positive dependence.
    See :func:`holm` for the argument, the result and the error.
    """
    return _adjusted(p_values, lambda p: np.asarray(stats.false_discovery_control(p)))


def _holm(p: FloatArray) -> FloatArray:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _adjusted(p_values: npt.ArrayLike, adjust: Callable[[FloatArray], FloatArray]) -> FloatArray:
    given = as_floats(p_values)
    known = ~np.isnan(given)
    if np.any((given[known] < 0) | (given[known] > 1)):
        raise ValueError("p-values must lie in [0, 1]")
    adjusted = np.full(given.shape, np.nan)
    if known.any():
        adjusted[known] = adjust(given[known])
    return adjusted
