"""Correlation with several controls held fixed, after redundant controls are dropped.

Margin, trace and gap all follow the train loss, the batch size and the width. The correlation that
remains with those held fixed shows what one measure adds about the other. Measures and controls
are used on the scale given: pass logarithms of quantities that span decades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from orchestrator.statistics.association.correlation import partial_pearson
from orchestrator.statistics.intervals.bootstrap import Groups, as_floats
from orchestrator.statistics.intervals.estimate import Estimate, FloatArray, all_finite
from orchestrator.statistics.intervals.resampling import DEFAULT, Resampling, is_constant

CONSTANT = "constant"
_COLLINEAR = 1e-10


@dataclass(frozen=True)
class PartialCorrelation:
    """Pearson's r given several controls.

    Attributes:
        estimate: r with an interval over trials, resampled within their conditions.
        independent: The same value with the interval of Fisher's z, variance 1 / (n − k − 3), as
            if all rows were independent. It is too narrow if rows are snapshots of few trials.
        degrees_of_freedom: n − 2 − k for k controls held fixed.
        t_p_value: Two-sided p-value of r = 0, from Student's t with those degrees of freedom:
            exact for normal, independent rows. None without a value.
        controls: Names of the controls held fixed.
        dropped: Redundant control → reason: ``constant``, or the other controls of which it is a
            linear function.
    """

    estimate: Estimate
    independent: Estimate
    degrees_of_freedom: int
    t_p_value: float | None
    controls: tuple[str, ...]
    dropped: Mapping[str, str]


def partial_correlation(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    controls: Mapping[str, npt.ArrayLike],
    groups: Groups | None = None,
    resampling: Resampling = DEFAULT,
) -> PartialCorrelation:
    """Estimate Pearson's r between the residuals of ``x`` and ``y`` after a fit on the controls.

    The fit is linear. A control that is constant, or a linear function of earlier ones, changes
    nothing and would cost a degree of freedom; it is dropped and named. The same controls thus
    work for studies of one width and of several.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        controls: Name → shape (n,). Rows not finite in ``x``, ``y`` or any control are left out
            and counted.
        groups: The trial and condition of each row; None if rows are independent.
        resampling: Resampling settings of the interval over trials.
    """
    columns = {name: as_floats(column) for name, column in controls.items()}
    table = np.stack([as_floats(x), as_floats(y), *columns.values()])
    kept = all_finite(table.T)
    held, dropped = useful_controls({name: column[kept] for name, column in columns.items()})
    rows, excluded = table[:2, kept], int(np.sum(~kept))
    inner = None if groups is None else groups.select(kept)
    given = list(held.values())
    independent = partial_pearson(rows[0], rows[1], given, None, resampling)
    estimate = independent
    if inner is not None:
        estimate = partial_pearson(rows[0], rows[1], given, inner, resampling)
    freedom = rows.shape[1] - 2 - len(held)
    if estimate.value is not None and freedom < 1:
        # A fit with as many parameters as rows gives r = ±1 for any data.
        reason = f"{rows.shape[1]} rows leave no degrees of freedom with {len(held)} controls"
        estimate, independent = (_undefined(one, reason) for one in (estimate, independent))
    return PartialCorrelation(
        replace(estimate, n_excluded=excluded),
        replace(independent, n_excluded=excluded),
        freedom,
        None if estimate.value is None else _t_p_value(estimate.value, freedom),
        tuple(held),
        dropped,
    )


def _undefined(estimate: Estimate, reason: str) -> Estimate:
    return replace(estimate, value=None, low=None, high=None, p_value=None, reason=reason)


def useful_controls(
    columns: Mapping[str, FloatArray],
) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """Split controls into useful ones, in their order, and redundant ones with the reason."""
    held: dict[str, FloatArray] = {}
    dropped: dict[str, str] = {}
    for name, column in columns.items():
        if not len(column) or is_constant(column):
            dropped[name] = CONSTANT
            continue
        standardized = (column - column.mean()) / column.std()
        before = np.array([(one - one.mean()) / one.std() for one in held.values()])
        if len(before):
            fit = np.linalg.lstsq(before.T, standardized, rcond=None)[0]
            if np.mean((standardized - fit @ before) ** 2) <= _COLLINEAR:
                dropped[name] = f"a linear function of {', '.join(held)}"
                continue
        held[name] = column
    return held, dropped


def _t_p_value(r: float, freedom: int) -> float:
    # P(|T| >= t) of Student's t as an incomplete beta function of r, without dividing by 1 - r².
    return float(special.betaincc(0.5, freedom / 2, min(r * r, 1.0)))
