import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.correlation import pearson
from orchestrator.statistics.grid.factor_share import factor_share
from orchestrator.statistics.grid.intervention_effects import intervention_effects
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.resampling import Resampling
from tests.binomial import assert_covers, with_simulations

WAYS = ("usual", "sam", "smoothing", "decay")
FEW = Resampling(resamples=200)


class Studied:
    """x = −y, except that ``sam`` moves x alone, ``smoothing`` both, and ``decay`` nothing."""

    def __init__(self, trials=40, seed=0, moved=2.0):
        generator = np.random.default_rng(seed)
        y = generator.normal(size=(4, trials))
        x = -y + 0.5 * generator.normal(size=y.shape)
        x[1] -= moved
        x[2] -= moved
        y[2] += moved
        self.x, self.y = x.ravel(), y.ravel()
        self.ways = np.repeat(WAYS, trials).tolist()
        self.groups = Groups.of(range(4 * trials), self.ways)

    def effects(self, resampling=FEW):
        return intervention_effects(
            self.x, self.y, self.ways, "usual", self.groups, resampling=resampling
        )


def test_effects_state_what_each_intervention_moves():
    study = Studied(trials=150)
    found = study.effects()
    assert [one.name for one in found.effects] == ["sam", "smoothing", "decay"]
    assert [one.moves for one in found.effects] == ["x only", "both", "neither"]
    assert found.effects[0].shift_difference.low > 1
    assert abs(found.effects[1].shift_difference.value) < 0.5
    study.x, study.y = study.y, study.x
    assert [one.moves for one in study.effects().effects] == ["y only", "both", "neither"]


def test_few_networks_leave_the_effect_unclear():
    found = Studied(trials=3).effects()
    assert found.effects[2].moves == "unclear"


def test_shifts_are_differences_of_means_in_standard_deviations():
    study = Studied(trials=12)
    rows = {way: np.array(study.ways) == way for way in WAYS}
    for column, shift in ((study.x, "x_shift"), (study.y, "y_shift")):
        inside = np.concatenate([column[row] - column[row].mean() for row in rows.values()])
        spread = np.sqrt(np.sum(inside**2) / (len(column) - 4))
        for one in study.effects().effects:
            found = getattr(one, shift)
            expected = (column[rows[one.name]].mean() - column[rows["usual"]].mean()) / spread
            assert found.value == pytest.approx(expected, abs=1e-12)
            assert found.low < found.value < found.high
    for one in study.effects().effects:
        expected = abs(one.x_shift.value) - abs(one.y_shift.value)
        assert one.shift_difference.value == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_a_shift_agrees_with_students():
    study = Studied(trials=30)
    found = study.effects(Resampling(resamples=4000)).effects[0].x_shift
    rows = [study.x[np.array(study.ways) == way] for way in ("sam", "usual")]
    inside = study.x.reshape(4, 30) - study.x.reshape(4, 30).mean(axis=1, keepdims=True)
    spread = np.sqrt(np.sum(inside**2) / (4 * 29))
    expected = stats.ttest_ind(*rows).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low / spread, abs=0.05)
    assert found.high == pytest.approx(expected.high / spread, abs=0.05)


def test_shares_are_those_of_the_way_of_training():
    study = Studied()
    found = study.effects()
    assert found.x_share == factor_share(study.x, study.ways, study.groups)
    assert found.y_share == factor_share(study.y, study.ways, study.groups)
    assert found.x_share.low > 0.2


def test_a_change_combines_the_intervals_of_two_correlations():
    generator = np.random.default_rng(5)
    study = Studied()
    sam = np.array(study.ways) == "sam"
    study.x[sam] = generator.normal(size=40)  # undoes the relation
    found = study.effects()
    change, r = found.effects[0].change, found.effects[0].correlation
    usual = np.array(study.ways) == "usual"
    alone = pearson(study.x[usual], study.y[usual], study.groups.select(usual), FEW)
    assert found.reference == alone
    assert change.value == pytest.approx(r.value - alone.value)
    assert change.low == pytest.approx(
        change.value - np.hypot(r.value - r.low, alone.high - alone.value)
    )
    assert change.high == pytest.approx(
        change.value + np.hypot(r.high - r.value, alone.value - alone.low)
    )
    assert change.low > 0.3
    assert found.effects[2].change.low < 0 < found.effects[2].change.high


@with_simulations(100, 4000)
def test_the_interval_of_a_change_covers_the_truth(simulations):
    """True r is −0.8 in the reference and 0 under the other way; few seeds in three conditions."""
    generator = np.random.default_rng(6)
    ways = np.repeat(["usual", "other"], 12)
    groups = Groups.of(range(24), np.repeat(range(6), 4).tolist())
    hits = 0
    for number in range(simulations):
        y = generator.normal(size=24)
        x = np.where(ways == "usual", -0.8 * y, 0) + np.where(ways == "usual", 0.6, 1.0) * (
            generator.normal(size=24)
        )
        few = Resampling(resamples=100, seed=number)
        change = intervention_effects(x, y, ways.tolist(), "usual", groups, few).effects[0].change
        hits += change.low <= 0.8 <= change.high
    assert_covers(hits, simulations, widest=0.99)


def test_nonfinite_rows_are_counted():
    study = Studied(trials=10)
    study.x[0], study.y[1] = np.nan, np.inf
    found = study.effects()
    one = found.effects[0]
    for estimate in (one.change, one.x_shift, one.y_shift, one.shift_difference, found.x_share):
        assert estimate.n_excluded == 2
    assert (found.reference.n, one.x_shift.n) == (8, 18)


def test_an_intervention_without_finite_rows_gives_a_reason():
    study = Studied(trials=5)
    study.x[5:10] = np.nan
    found = study.effects().effects[0]
    assert (found.name, found.moves) == ("sam", "unclear")
    assert found.x_shift.reason == "no finite row to compare with"
    assert found.change.reason.startswith("0 rows")


def test_a_measure_constant_within_ways_has_no_shift():
    study = Studied(trials=5)
    study.x = np.repeat([0.0, 1.0, 2.0, 3.0], 5)
    found = study.effects().effects[0]
    assert found.x_shift.value is None
    assert "does not vary within" in found.x_shift.reason
    assert found.y_shift.has_interval
    assert found.moves == "unclear"


def test_ways_of_a_single_network_are_unclear():
    groups = Groups.of(range(5), range(5))
    ways = ["usual"] * 4 + ["sam"]
    found = intervention_effects([1, 2, 3, 5, 9], [2, 1, 4, 3, 0], ways, "usual", groups, FEW)
    one = found.effects[0]
    assert one.moves == "unclear"
    assert one.x_shift.value is not None
    assert "too many resamples" in one.x_shift.reason
    assert "seed spread is unknown" in found.x_share.reason


def test_missing_references_and_unequal_lengths_are_refused():
    groups = Groups.of(range(3), range(3))
    with pytest.raises(ValueError, match="no row of the reference 'usual', got"):
        intervention_effects([1, 2, 3], [1, 2, 3], ["a", "b", "b"], "usual", groups)
    with pytest.raises(ValueError, match="3 values, 2 interventions, 3 rows"):
        intervention_effects([1, 2, 3], [1, 2, 3], ["usual", "b"], "usual", groups)
