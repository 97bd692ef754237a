import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.grid.interventions import compare_interventions
from orchestrator.statistics.intervals.bootstrap import Groups

TRIALS, SNAPSHOTS = 6, 5
WAYS = ("usual", "sam", "decay")


class Studied:
    """Networks trained in three ways: x follows y inside each, moved by an intervention."""

    def __init__(self, moved, follows=True, seed=0, trials=TRIALS):
        generator = np.random.default_rng(seed)
        shape = (len(WAYS), trials, SNAPSHOTS)
        y = generator.normal(size=shape) + 3
        x = -y if follows else np.where(np.arange(3)[:, None, None] == 0, -y, 0)
        x = x + np.array([0, moved, 0])[:, None, None] + 0.1 * generator.normal(size=shape)
        self.x, self.y = x.ravel(), y.ravel()
        trial = np.broadcast_to(
            np.arange(len(WAYS) * trials)[:, None], (len(WAYS) * trials, SNAPSHOTS)
        )
        self.ways = np.repeat(WAYS, trials * SNAPSHOTS).tolist()
        self.groups = Groups.of(trial.ravel().tolist(), self.ways)

    def compared(self):
        return compare_interventions(self.x, self.y, self.ways, "usual", self.groups)


def test_interventions_along_one_common_line_do_not_weaken_the_relation():
    found = Studied(moved=0).compared()
    assert found.reference.value == pytest.approx(found.across.value, abs=0.02)
    assert found.weakening.low < 0.01
    assert not any(one.moves.endswith("only") for one in found.effects)


def test_an_intervention_on_one_quantity_weakens_the_relation():
    study = Studied(moved=-5)
    found = study.compared()
    usual = np.array(study.ways) == "usual"
    inside = stats.pearsonr(study.x[usual], study.y[usual]).statistic
    across = stats.pearsonr(study.x, study.y).statistic
    assert found.weakening.value == pytest.approx(abs(inside) - abs(across), abs=1e-12)
    assert found.weakening.low > 0.2
    assert [one.name for one in found.effects] == ["sam", "decay"]
    assert found.effects[0].moves in ("x only", "unclear")
    assert found.effects[0].x_shift.value == pytest.approx(-5, abs=0.8)
    assert abs(found.effects[0].y_shift.value) < 0.5
    assert found.x_share.value > 0.5
    assert found.y_share.high < 0.5


def test_an_intervention_that_removes_the_relation_weakens_it():
    found = Studied(moved=0, follows=False).compared()
    assert abs(found.effects[0].correlation.value) < 0.5
    assert found.weakening.low > 0.1


def test_a_reference_without_rows_gives_a_reason():
    study = Studied(moved=0)
    found = compare_interventions(study.x, study.y, study.ways, "adamw", study.groups)
    assert found.effects == ()
    assert found.weakening.value is None
    assert "0 rows" in found.weakening.reason
    assert (found.x_share, found.y_share) == (None, None)


def test_nonfinite_rows_are_counted():
    study = Studied(moved=0)
    study.x[0], study.y[1] = np.nan, np.inf
    found = study.compared()
    assert (found.weakening.n, found.weakening.n_excluded) == (len(study.x) - 2, 2)


def test_a_single_way_of_training_gives_a_reason():
    study = Studied(moved=0)
    found = compare_interventions(study.x, study.y, ["usual"] * len(study.x), "usual", study.groups)
    assert found.weakening.value is None
    assert "one way" in found.weakening.reason
