"""Information of a measure about the generalization gap, beyond that of hyperparameters.

For a pair of networks, V_μ indicates which has the larger measure, and V_g which has the larger
gap. Given the levels U_S that a set S of hyperparameters has in both networks,

    Î(S) = I(V_μ; V_g | U_S) / H(V_g | U_S),    K = min over S of Î(S),

so K is 1 if the measure determines every order, and 0 if it adds nothing to some S (Jiang et al.,
arXiv:1912.02178, section 2.2, "conditional independence test"). Two caveats apply. Information has
no sign, so a measure that orders everything wrongly scores as well as a perfect one. With few
networks, a useless measure gets a K well above 0. K is therefore always given with the K of the
same measure shuffled over the networks, and belongs beside Kendall's τ.

Two definitions are in use. ``jiang`` is that of the paper. ``pgdl`` is a different one, computed by
the scoring program of the competition "Predicting Generalization in Deep Learning"
(arXiv:2012.07976); see :mod:`.pgdl_score`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from orchestrator.random_streams import stream_seed
from orchestrator.statistics.claim import counted
from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.grid.pair_information import LARGEST_SET, JiangInformation
from orchestrator.statistics.grid.pgdl_score import PgdlInformation
from orchestrator.statistics.intervals.bootstrap import as_floats
from orchestrator.statistics.intervals.estimate import FloatArray, all_finite

Mode = Literal["jiang", "pgdl"]
PERMUTATIONS = 1000
_SAME = 1e-9
_FEWEST_CONDITIONS = 3
_UNDEFINED: dict[Mode, str] = {
    "jiang": "no set of hyperparameters leaves the order of the target open",
    "pgdl": "concatenated levels collide, which makes the PGDL score NaN",
}


@dataclass(frozen=True)
class PermutationNull:
    """The statistic's distribution with the measure shuffled over the conditions.

    Attributes:
        mean: Mean over the permutations.
        quantile: 95 % quantile over the permutations.
        p_value: (1 + permutations that reach the value) / (1 + permutations).
        permutations: Number of permutations, without undefined ones.
    """

    mean: float
    quantile: float
    p_value: float
    permutations: int


@dataclass(frozen=True)
class ConditionalInformation:
    """K of one measure.

    Attributes:
        value: K, usually in [0, 1]; the PGDL competition prints 100 K. None if undefined.
        mode: The definition of K.
        sets: Each set S and its Î(S), NaN if undefined, in the order of evaluation.
        null: The distribution of K for shuffled measures; None if ``value`` is None.
        n: Number of conditions used.
        n_excluded: Number of rows left out because a value was not finite.
        n_pairs: Number of ordered pairs of conditions compared.
        n_tied: Number of ordered pairs left out as tied in measure or gap; 0 for ``pgdl``.
        reason: Why the value is missing, or "".
    """

    value: float | None
    mode: Mode
    sets: tuple[tuple[tuple[str, ...], float], ...]
    null: PermutationNull | None
    n: int
    n_excluded: int
    n_pairs: int
    n_tied: int
    reason: str = ""

    @property
    def n_undefined(self) -> int:
        """Number of sets S without an Î(S): V_g is certain given U_S, or a cell is empty."""
        return sum(not np.isfinite(value) for _, value in self.sets)


def conditional_information(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    grid: Grid,
    mode: Mode = "jiang",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> ConditionalInformation:
    """Compute K of a measure for a target, and K of the shuffled measure.

    Seeds of a condition are averaged first, and a permutation moves whole conditions: seeds of one
    condition are alike, and not exchangeable with those of others.

    ``jiang`` uses all ordered pairs of conditions except those tied in measure or target. Sets S
    have at most two hyperparameters, and the empty set is included. Cells U_S are weighted by
    their frequency. If every cell of S leaves V_g certain, S has no Î (as with two hyperparameters
    in a grid of two). The grid may be incomplete.

    Args:
        x: Shape (n,), the measure.
        y: Shape (n,), the target. Non-finite rows are left out and counted.
        grid: The hyperparameters of each row.
        mode: The definition of K.
        permutations: Number of permutations; time grows with permutations · conditions² · sets.
        seed: Seed of the permutations.

    Raises:
        ValueError: If lengths differ, or ``permutations`` is below 1.
    """
    columns = np.stack([as_floats(x), as_floats(y)])
    if columns.shape[1] != grid.rows:
        raise ValueError(f"{columns.shape[1]} values, {grid.rows} grid rows")
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    kept = all_finite(columns.T)
    inner, finite = grid.select(kept), columns[:, kept]
    order = inner.order(*finite.tolist())
    inner, finite = inner.select(order), finite[:, order]
    codes, n_excluded = inner.conditions, int(np.sum(~kept))
    per_condition = np.bincount(inner.condition, minlength=len(codes))
    measure, target = (
        np.bincount(inner.condition, column, minlength=len(codes)) / per_condition
        for column in finite
    )
    nothing = ConditionalInformation(None, mode, (), None, len(codes), n_excluded, 0, 0)
    if reason := _why_not(inner, mode):
        return replace(nothing, reason=reason)
    conditions = Grid(inner.axes, inner.levels, codes, inner.joint)
    scorer = (JiangInformation if mode == "jiang" else PgdlInformation)(target, conditions)
    generator = np.random.default_rng(stream_seed(seed, "permutation"))
    shuffled = generator.permuted(np.tile(measure, (permutations, 1)), axis=1)
    values = scorer.values(np.vstack([measure, shuffled]))
    found = replace(
        nothing,
        sets=tuple(zip(scorer.sets, values[0].tolist(), strict=True)),
        n_pairs=scorer.compared(measure),
        n_tied=len(codes) * (len(codes) - 1) - scorer.compared(measure) if mode == "jiang" else 0,
    )
    value = scorer.smallest(values[0])
    if not math.isfinite(value):
        return replace(found, reason=_UNDEFINED[mode])
    null = np.array([scorer.smallest(row) for row in values[1:]])
    return replace(found, value=value, null=_null(value, null))


def _null(value: float, null: FloatArray) -> PermutationNull:
    defined = null[np.isfinite(null)]
    # Equal orders can differ in the last digits, because sums run in another order.
    reached = int(np.sum(defined >= value - _SAME))
    p_value = (1 + reached) / (1 + len(defined))
    quantile = float(np.quantile(defined, 0.95))
    return PermutationNull(float(np.mean(defined)), quantile, p_value, len(defined))


def _why_not(grid: Grid, mode: Mode) -> str:
    """Return why the grid allows no K, or "" if it does."""
    conditions = len(grid.conditions)
    if conditions < _FEWEST_CONDITIONS:
        return f"{counted(conditions, 'condition')}; at least {_FEWEST_CONDITIONS} are needed"
    if mode == "jiang":
        return ""
    if len(grid.axes) < LARGEST_SET:
        return "the PGDL score needs at least two hyperparameters"
    if grid.n_missing:
        return (
            f"{grid.n_missing} of {conditions + grid.n_missing} combinations of levels are "
            "missing; the PGDL score needs a complete grid"
        )
    return ""
