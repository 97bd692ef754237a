"""The score of the competition "Predicting Generalization in Deep Learning", bit for bit.

Jiang et al., arXiv:2012.07976, describe the conditional mutual information of
:mod:`.mutual_information`. Their public scoring program computes something else, and the published
scores come from that program. In the program,

- pairs are all n² ordered pairs, including each network with itself;
- a tie in the gap or in the measure counts as "not larger";
- sets S are the ordered pairs of hyperparameters only, not single ones or the empty set;
- every cell U_S has the same weight in the means of I and of H, for any number of pairs;
- a cell is identified by the concatenated text of its four levels, so levels 1, 12 and 11, 2 share
  a cell, and the cell that lost its pairs is 0/0;
- the smallest Î is taken by Python's ``min``, which forgets a NaN unless it comes last;
- entropies add 10⁻¹² inside the logarithm.

As a result, a measure that orders everything wrongly scores less than 1 (on average 0.77 for 12
networks with random gaps, 0.90 for 36), only because ties and self-pairs fall into the "not larger"
bin of both. For the same networks, a useless measure scores 0.17 and 0.03, and a constant one 0.
With two hyperparameters, every cell is certain and every measure scores 0. The program refuses
grids that are incomplete or contain a network twice, and prints 100 times the mean over its tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.intervals.estimate import FloatArray, IntArray

_INSIDE_LOGARITHM = 1e-12


class PgdlInformation:
    """Î of every ordered pair of hyperparameters.

    Args:
        target: Shape (n,), one gap per network.
        grid: The hyperparameters of each network; complete, without equal networks. The text of
            the levels matters.
    """

    def __init__(self, target: FloatArray, grid: Grid) -> None:
        self._target = (target[:, None] <= target).ravel().astype(np.int64)
        self._grid = grid
        self._places = list(itertools.permutations(range(len(grid.axes)), 2))
        self.sets = [tuple(grid.axes[place] for place in places) for places in self._places]

    def values(self, measures: FloatArray) -> FloatArray:
        """Compute Î of every set for each row of ``measures``, of shape (r, n).

        Returns:
            Shape (r, sets); NaN if a cell is empty.
        """
        columns = [self._of_set(places, measures) for places in self._places]
        return np.stack(columns, axis=1)

    def compared(self, measure: FloatArray) -> int:
        """Count the ordered pairs, including each network with itself."""
        return len(measure) ** 2

    @staticmethod
    def smallest(values: FloatArray) -> float:
        """Return the smallest Î found by Python's ``min``, which depends on a NaN's position."""
        smallest = float("inf")
        for value in values.tolist():
            smallest = min(value, smallest)
        return smallest

    def _of_set(self, places: Sequence[int], measures: FloatArray) -> FloatArray:
        cell, number = self._cells(places)
        found = np.empty(len(measures))
        for row, measure in enumerate(measures):
            not_larger = (measure[:, None] <= measure).ravel()
            bins = 4 * cell + 2 * self._target + not_larger
            counts = np.bincount(bins, minlength=4 * number).reshape(number, 2, 2)
            found[row] = _normalised(counts.astype(np.float64))
        return found

    def _cells(self, places: Sequence[int]) -> tuple[IntArray, int]:
        """Return the cell of every ordered pair, found by its key, and the number of cells."""
        texts = [[str(level) for level in self._grid.levels[place]] for place in places]
        axes = [
            [first + second for first, second in itertools.product(levels, repeat=2)]
            for levels in texts
        ]
        keys = [first + second for first, second in itertools.product(*axes)]
        place_of = {key: place for place, key in enumerate(keys)}
        # If keys collide, the last cell gets all pairs, and the earlier cells get none.
        shared = np.array([place_of[key] for key in keys], dtype=np.int64)
        first, second = (self._grid.codes[:, place] for place in places)
        sizes = [len(levels) for levels in texts]
        own = first[:, None] * sizes[0] + first
        own = own * sizes[1] ** 2 + second[:, None] * sizes[1] + second
        return shared[own].ravel(), len(keys)


def _normalised(counts: FloatArray) -> float:
    """Return mean I over mean H for counts (cells, V_g, V_μ), summed in the program's order."""
    whole = counts.sum(axis=(1, 2))
    # An empty cell is 0/0 in the program too, and makes the set NaN.
    with np.errstate(invalid="ignore"):
        joint = counts / whole[:, None, None]
        target = counts.sum(axis=2) / whole[:, None]
        measure = counts.sum(axis=1) / whole[:, None]
    ratio = np.ones_like(joint)
    np.divide(joint, target[:, :, None] * measure[:, None, :], out=ratio, where=joint != 0)
    information = _in_turn((joint * np.log2(ratio)).reshape(len(counts), 4))
    entropy = -np.sum(target * np.log2(target + _INSIDE_LOGARITHM), axis=1)
    means = _in_turn(np.stack([information, entropy])) / len(counts)
    return float(means[0] / means[1])


def _in_turn(values: FloatArray) -> FloatArray:
    """Sum over the last axis one by one, since NumPy's own sum adds in another order."""
    total: FloatArray = np.cumsum(values, axis=-1)[..., -1]
    return total
