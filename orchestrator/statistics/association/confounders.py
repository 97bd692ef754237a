"""The known confounders of a claim: log training loss, and every swept hyperparameter.

Both measures follow the training loss, and any swept hyperparameter can move both. Positive
numbers are held fixed as logarithms, other randomly drawn numbers as they are, and everything else
level by level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.association.partial import useful_controls
from orchestrator.statistics.claim import counted
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray, positive_log10
from orchestrator.statistics.study_design import Axis, Design

LOSS = "training loss"
FEWEST_LEFT = 3
"""Fewest conditions that a fit on the swept columns must leave free."""
_MOST_LISTED = 2


@dataclass(frozen=True)
class Confounders:
    """Confounders to hold fixed.

    Attributes:
        names: Readable names of those that vary.
        columns: Shape (k, n), linearly independent.
        reason: Why they cannot be held fixed, or "".
    """

    names: tuple[str, ...]
    columns: FloatArray
    reason: str = ""

    @property
    def what(self) -> str:
        """The phrase ``with training loss and batch size held fixed``."""
        return f"with {listed(self.names)} held fixed"

    @property
    def brief(self) -> str:
        """The same in a few words: many hyperparameters are not listed."""
        if len(self.names) <= _MOST_LISTED:
            return self.what
        swept = len(self.names) - (LOSS in self.names)
        loss = f"{LOSS} and " * (LOSS in self.names)
        return f"with {loss}{counted(swept, 'swept hyperparameter')} held fixed"


def known_confounders(train_loss: FloatArray, groups: Groups, design: Design) -> Confounders:
    """Return the confounders of some rows.

    Args:
        train_loss: Shape (n,), positive and finite.
        groups: The trial and condition of each row; conditions are numbered as in ``design``.
        design: The swept axes.
    """
    conditions = groups.condition[groups.trial]
    columns = {LOSS: positive_log10(train_loss)}
    name_of = {LOSS: LOSS}
    for axis in design.axes:
        for place, column in enumerate(_columns(axis, conditions)):
            columns[f"{axis.name} {place}"] = column
            name_of[f"{axis.name} {place}"] = axis.name
    held, _ = useful_controls(columns)
    names = tuple(dict.fromkeys(name_of[name] for name in held))
    table = np.array(list(held.values())).reshape(len(held), len(conditions))
    swept = sum(name_of[name] != LOSS for name in held)
    left = groups.conditions - swept
    reason = ""
    if left < FEWEST_LEFT:
        reason = (
            f"{counted(groups.conditions, 'condition')} are too few to hold {swept} swept "
            f"column{'s' * (swept != 1)} fixed"
        )
    return Confounders(names, table, reason)


def _columns(axis: Axis, conditions: IntArray) -> list[FloatArray]:
    value = axis.value[conditions]
    if len(value) and np.isfinite(value).all():
        if (value > 0).all():
            return [np.log10(value)]
        if axis.drawn:
            return [value]
    level = axis.level[conditions]
    return [np.asarray(level == one, dtype=np.float64) for one in np.unique(level)[1:]]


def residuals(columns: FloatArray, given: FloatArray) -> FloatArray:
    """Return the residuals of each column after a linear fit on the given columns."""
    fit = np.concatenate([np.ones((1, given.shape[1])), given]).T
    left: FloatArray = columns - (fit @ np.linalg.lstsq(fit, columns.T, rcond=None)[0]).T
    # The residual of a column that the fit explains is rounding error.
    explained = left.std(axis=1) <= 1e-9 * columns.std(axis=1)
    left[explained] = 0.0
    return left


def listed(names: tuple[str, ...]) -> str:
    """Join names with commas and a final "and"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
