"""Bootstrap over trials, grouped by condition.

Snapshots of one trial are not independent, so a trial is resampled as a whole. Conditions are
fixed by the study, so trials are resampled within their condition. A condition has few seeds:
drawing k of k trials would scale variances by (k − 1)/k, a loss of a third for three seeds.
Therefore k − 1 trials are drawn, each with weight k/(k − 1), which makes the variance of a
weighted sum unbiased (Rao, Wu and Yue 1992, "Some recent work on resampling methods for complex
surveys", Survey Methodology 18, 209–217). Conditions with a single trial carry no information on
their own spread. They are pooled and resampled like the seeds of one condition, which errs on the
wide side.

An interval is the value ± Student's quantile × the standard deviation of the resampled values, on
a scale where the statistic is about normal: Fisher's z for correlations (Efron and Tibshirani
1993, section 12.5; section 13.7 discusses the choice of scale). With two to five seeds per
condition, such intervals covered the truth in 92 to 95 % of simulated studies. Percentile
intervals covered it in 66 to 85 %, and a bootstrap over single snapshots in 52 to 57 %
(``tests/statistics/intervals/test_bootstrap.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from orchestrator.random_streams import stream_seed
from orchestrator.statistics.association.order import ordered_codes
from orchestrator.statistics.intervals.estimate import BoolArray, FloatArray, IntArray

RESAMPLES = 1000
LEVEL = 0.95
FEWEST_TRIALS = 3

Transform = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Groups:
    """The trial of each row, and the condition of each trial.

    Attributes:
        trial: Shape (n,), from 0 to ``trials`` − 1.
        condition: Shape (trials,), the condition of each trial.
    """

    trial: IntArray
    condition: IntArray

    @classmethod
    def of(cls, trial: Sequence[object], condition: Sequence[object]) -> Groups:
        """Number the labels of each row, with trials in the order of their labels.

        Resamples are therefore the same for any order of the rows.

        Args:
            trial: Shape (n,), any labels.
            condition: Shape (n,), any labels; all rows of a trial have the same one.

        Raises:
            ValueError: If the lengths differ, or a trial has rows in two conditions.
        """
        if len(trial) != len(condition):
            raise ValueError(f"{len(trial)} trial labels, {len(condition)} condition labels")
        trial_labels, trial_codes = ordered_codes(trial)
        # Ordered by first trial, so that resamples do not depend on the names of conditions.
        by_trial = np.argsort(trial_codes, kind="stable")
        condition_codes = np.empty(len(condition), dtype=np.int64)
        condition_codes[by_trial] = _codes([condition[row] for row in by_trial])
        condition_of = np.zeros(trial_labels, dtype=np.int64)
        condition_of[trial_codes] = condition_codes
        if np.any(condition_of[trial_codes] != condition_codes):
            raise ValueError("a trial has rows in more than one condition")
        return cls(trial_codes, condition_of)

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.condition)

    @property
    def conditions(self) -> int:
        """Number of conditions."""
        return len(np.unique(self.condition))

    @property
    def degrees_of_freedom(self) -> int:
        """Number of trials beyond the first of each stratum, which determine the seed spread."""
        return sum(len(members) - 1 for members in self.strata())

    def select(self, rows: BoolArray) -> Groups:
        """Keep some rows, and drop trials without any."""
        kept, trial = np.unique(self.trial[rows], return_inverse=True)
        return Groups(trial.astype(np.int64).reshape(-1), self.condition[kept])

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum ``values`` of shape (n, …) over the rows of each trial: shape (trials, …)."""
        if np.array_equal(self.trial, np.arange(self.trials)):
            return values.astype(np.float64)  # One row of each trial, in order.
        # Adding sorted rows is far faster than adding scattered ones.
        order = np.argsort(self.trial, kind="stable")
        found, starts = np.unique(self.trial[order], return_index=True)
        total = np.zeros((self.trials, *values.shape[1:]))
        if len(found):
            total[found] = np.add.reduceat(values[order], starts, axis=0)
        return total

    def weights(self, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
        """Draw the weight of each trial in each resample.

        Args:
            resamples: Number of resamples.
            seed: Equal seeds give equal resamples.

        Returns:
            Shape (resamples, trials), read-only; within a condition, the weights of a resample
            add up to its number of trials.
        """
        return _weights(self.condition.astype(np.int64).tobytes(), resamples, seed)

    def strata(self) -> list[IntArray]:
        """Group trials that differ by their seeds: by condition, with single trials pooled."""
        order = np.argsort(self.condition, kind="stable")
        _, starts = np.unique(self.condition[order], return_index=True)
        strata = np.split(order, starts[1:])
        single = [members for members in strata if len(members) == 1]
        several = [members for members in strata if len(members) > 1]
        return [*several, np.concatenate(single)] if single else several


@lru_cache(maxsize=2)  # A report resamples the same trials for each of many measures.
def _weights(condition: bytes, resamples: int, seed: int) -> FloatArray:
    codes = np.frombuffer(condition, dtype=np.int64)
    generator = np.random.default_rng(stream_seed(seed, "bootstrap"))
    weights = np.ones((resamples, len(codes)))
    for members in Groups(codes, codes).strata():
        size = len(members)
        if size > 1:
            counts = generator.multinomial(size - 1, np.full(size, 1 / size), resamples)
            weights[:, members] = counts * (size / (size - 1))
    weights.flags.writeable = False
    return weights


def _codes(labels: Sequence[object]) -> IntArray:
    """Number labels in order of appearance."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


@dataclass(frozen=True)
class Scale:
    """A scale on which a statistic is about normal, and its inverse."""

    forward: Transform
    inverse: Transform


def fisher(finest: float = 1e-12) -> Scale:
    """Return Fisher's z, the scale of correlations.

    Args:
        finest: Smallest distance from ±1 that can be resolved; at ±1, z is infinite. Rank
            correlations of few rows are often exactly ±1 in a resample; their ``finest`` is half
            the step between possible values.
    """

    def forward(values: FloatArray) -> FloatArray:
        inside: FloatArray = np.clip(values, -1 + finest, 1 - finest)
        return np.arctanh(inside)

    return Scale(forward, np.tanh)


def _logarithm(values: FloatArray) -> FloatArray:
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))


def _exponential(values: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):  # The end of an interval may overflow to infinity.
        return np.exp(values)


LINEAR = Scale(np.array, np.array)
LOGARITHMIC = Scale(_logarithm, _exponential)


def student_interval(
    value: float,
    resampled: FloatArray,
    degrees_of_freedom: int,
    scale: Scale = LINEAR,
    level: float = LEVEL,
) -> tuple[float | None, float | None]:
    """Compute an interval around ``value`` from the spread of resampled values.

    Args:
        value: The statistic over all rows.
        resampled: Shape (resamples,); NaN where the statistic was undefined.
        degrees_of_freedom: Degrees of freedom, :attr:`Groups.degrees_of_freedom`.
        scale: Scale on which the statistic is about normal.
        level: Confidence level.

    Returns:
        Both ends, or (None, None) if more than a tenth of the resamples are undefined.
    """
    error = _standard_error(resampled, degrees_of_freedom, scale)
    if error is None:
        return None, None
    quantile = float(stats.t.ppf((1 + level) / 2, degrees_of_freedom))
    half_width = quantile * error
    centre = scale.forward(np.array([value]))
    low, high = scale.inverse(centre - half_width), scale.inverse(centre + half_width)
    return min(float(low[0]), value), max(float(high[0]), value)


def student_p_value(
    value: float, resampled: FloatArray, degrees_of_freedom: int, scale: Scale = LINEAR
) -> float | None:
    """Return the two-sided p-value of the statistic being 0, consistent with the interval.

    :func:`student_interval` inverts this test.

    Returns:
        The p-value, in [0, 1]; None without an interval, or if the resamples do not vary.
    """
    error = _standard_error(resampled, degrees_of_freedom, scale)
    if error is None:
        return None
    distance = abs(float((scale.forward(np.array([value])) - scale.forward(np.zeros(1)))[0]))
    # A spread this small is rounding error.
    if error <= 1e-12 * distance:
        return None
    return float(2 * stats.t.sf(distance / error, degrees_of_freedom))


def _standard_error(resampled: FloatArray, degrees_of_freedom: int, scale: Scale) -> float | None:
    """Return the resamples' spread on the scale; None if more than a tenth are undefined."""
    defined = resampled[np.isfinite(resampled)]
    if degrees_of_freedom < 1 or len(defined) < max(2, 0.9 * len(resampled)):
        return None
    return float(np.std(scale.forward(defined), ddof=1))


def why_no_interval(groups: Groups) -> str:
    """Return why these trials allow no interval, or "" if they do."""
    if groups.trials < FEWEST_TRIALS:
        return f"no interval from {groups.trials} trial{'s' * (groups.trials != 1)}"
    return ""


def as_floats(values: npt.ArrayLike) -> FloatArray:
    """Convert numbers to float64; None becomes NaN."""
    return np.array(values, dtype=np.float64)
