"""The distribution of distances when some are known only to exceed a bound."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-12  # Shares are sums of fractions.


@dataclass(frozen=True)
class Survival:
    """The Kaplan-Meier estimate of S(t) = Pr[distance > t].

    Attributes:
        times: The distinct observed distances, ascending, shape ``(m,)``.
        surviving: S just after each observed distance, shape ``(m,)``.
    """

    times: npt.NDArray[np.float64]
    surviving: npt.NDArray[np.float64]

    def quantile(self, share: float) -> float:
        """Return the smallest distance not exceeded by at least ``share`` of all; else infinity.

        Without censoring it is an order statistic, the inverse of the empirical distribution.
        """
        reached = np.flatnonzero(1 - self.surviving >= share - _ROUNDING)
        return float(self.times[reached[0]]) if len(reached) else inf


def kaplan_meier(distances: npt.NDArray[np.float64], censored: npt.NDArray[np.bool_]) -> Survival:
    """Return S(t), the product over observed distances t_i ≤ t of 1 − d_i / n_i.

    Here d_i distances equal t_i and n_i are at least t_i, censored ones included (Kaplan and
    Meier 1958, "Nonparametric estimation from incomplete observations"). A censored distance
    is known only to be larger than the value given.

    ``scipy.stats.ecdf`` agrees, but refuses the infinite distances of examples without a bound and
    of those that are misclassified wherever they are moved.

    Args:
        distances: Shape ``(n,)``; may be infinite.
        censored: Shape ``(n,)``.

    Raises:
        ValueError: If a distance is NaN.
    """
    if np.isnan(distances).any():
        raise ValueError("a distance is NaN")
    times, counts = np.unique(distances[~censored], return_counts=True)
    at_risk = (distances[None, :] >= times[:, None]).sum(axis=1)
    return Survival(times, np.cumprod(1 - counts / np.maximum(at_risk, 1)))
